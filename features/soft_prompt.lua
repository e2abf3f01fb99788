-- Stores a user's soft prompt while the profile is still the one it was made from, as vector.lua says; in place of any.
--
-- KEYS  1 meta (hash, as apply.lua says)   2 soft prompt (string, as features/soft_prompts.py says)
-- ARGV  1 "log_id:partition"   2 offset   3 the value
-- Returns 1 when stored, 0 when the profile has moved on or the user is not known.

local at = redis.call('HGET', KEYS[1], 'a')
if at ~= ARGV[1] or redis.call('HGET', KEYS[1], at) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
return 1
