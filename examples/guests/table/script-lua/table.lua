-- What every language must be able to do: see ../README.md. A script for the interpreter in ../../script-lua.
function sum(numbers)
  local total = 0
  for _, number in ipairs(numbers) do total = total + number end
  return total
end

function echo(text)
  return text
end

function busy()
  error("try again")
end

function never()
  permanent("never again")
end

function say()
  for line = 1, 3 do print("line " .. line .. ": grüße") end
  return 3
end

function babble()
  io.write("no JSON\n")
end

function quit(code)
  os.exit(code)
end

function panic()
  local asked
  asked()
end
