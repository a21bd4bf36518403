-- What a station measured, and whether it thawed. A sensor that is broken says 99.
function run(input)
  local sum, frost = 0, false
  for _, degrees in ipairs(input.readings) do
    if degrees >= 99 then permanent(("the sensor says %g degrees"):format(degrees)) end
    sum, frost = sum + degrees, frost or degrees < 0
  end
  return { station = input.station, mean = sum / #input.readings, frost = frost }
end
