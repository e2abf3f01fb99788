-- Puts versions of items into the catalogue; of two versions of one item the greater wins.
--
-- KEYS  1 items (hash: item id -> version and JSON)
-- ARGV  item id, stored value, item id, stored value...
-- A stored value starts with 24 bytes that compare as bytes: time (f64, big-endian, not negative) and content hash.
-- Returns how many versions were newer than what was there.

local function newer(a, b)
  for i = 1, 24 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end

local count = 0
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or newer(ARGV[i + 1], held) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    count = count + 1
  end
end
return count
