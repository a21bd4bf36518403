-- A script task: `lovage module push stats target/guests/script-lua.wasm --script examples/guests/script-lua/stats.lua`
function run(numbers)
  if type(numbers) ~= "table" then permanent("an array of numbers is wanted") end
  if #numbers == 0 then permanent("no numbers") end
  local sum = 0
  for _, number in ipairs(numbers) do sum = sum + number end
  print(#numbers .. " numbers")
  return { count = #numbers, mean = sum / #numbers, min = math.min(table.unpack(numbers)), max = math.max(table.unpack(numbers)) }
end
