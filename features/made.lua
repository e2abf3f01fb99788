-- Stores what a model has made of a user while the profile is still the one it was made from.
--
-- The profile's stamp is moved by every batch and every erasure that is applied, and never comes to a place twice: what
-- was made where the stamp still is has seen all that the profile has, and no event that was erased since.
--
-- KEYS  1 meta (hash, as apply.lua says)   2 records (string, as features/records.py says)
-- ARGV  1 "log_id:partition"   2 offset   3 model   4 the record   5 bytes of a record's length
-- Returns 1 when stored, 0 when the profile has moved on or the user is not known.

local at = redis.call('HGET', KEYS[1], 'a')
if at ~= ARGV[1] or redis.call('HGET', KEYS[1], at) ~= ARGV[2] then return 0 end

local stored = redis.call('GET', KEYS[2]) or ''

-- The record of another model, '' when there is none. What is damaged raises, and is written over.
local function others()
  local place, head = 1, tonumber(ARGV[5])
  while place <= #stored do
    local length, model_length = struct.unpack('>I' .. head .. 'B', stored, place)
    if length <= head or place + length - 1 > #stored then error('damaged') end
    if string.sub(stored, place + head + 1, place + head + model_length) ~= ARGV[3] then
      return string.sub(stored, place, place + length - 1)
    end
    place = place + length
  end
  return ''
end

local is_whole, other = pcall(others)
redis.call('SET', KEYS[2], ARGV[4] .. (is_whole and other or ''))
return 1
