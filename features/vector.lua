-- Stores a user's vector while the profile is still the one it was made from.
--
-- The profile's stamp is moved by every batch and every erasure that is applied, and never comes to a place twice: a
-- vector whose stamp it still is has seen all that the profile has, and no event that was erased since.
--
-- KEYS  1 meta (hash, as apply.lua says)   2 vectors (string, as features/vectors.py says)
-- ARGV  1 "log_id:partition"   2 offset   3 model   4 the vector's record
-- Returns 1 when stored, 0 when the profile has moved on or the user is not known.

local at = redis.call('HGET', KEYS[1], 'a')
if at ~= ARGV[1] or redis.call('HGET', KEYS[1], at) ~= ARGV[2] then return 0 end

local stored = redis.call('GET', KEYS[2]) or ''
local other, place = '', 1
while place <= #stored and other == '' do
  local length, model_length = struct.unpack('>I2B', stored, place)
  if string.sub(stored, place + 3, place + 2 + model_length) ~= ARGV[3] then
    other = string.sub(stored, place, place + length - 1)
  end
  place = place + length
end
redis.call('SET', KEYS[2], ARGV[4] .. other)
return 1
