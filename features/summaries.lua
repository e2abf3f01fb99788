-- Stores parts of what is said about a user, all of them or none.
--
-- What was made from a profile that has lost events since to an erasure must not come back: the writer says which
-- erasure it knew of. The profile may have moved on otherwise; a summary tells by its own stamp what it has seen.
--
-- KEYS  1 meta (hash, as apply.lua says)   2 summaries (hash, as features/summaries.py says)
-- ARGV  1 erased at, as it was read with the history, or ''
--       2... field, revision that was read (0 for none, '' for any), value ('' to remove it), field, ...
-- Returns 1 when stored, and when it was already; 0 when the user is not known, was erased since, or when somebody else
-- has written since.

local meta = redis.call('HMGET', KEYS[1], 'a', 't')
if not meta[1] or tonumber(meta[2] or '') ~= tonumber(ARGV[1]) then return 0 end

for i = 2, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[2], ARGV[i])
  if ARGV[i + 1] ~= '' and held ~= ARGV[i + 2] then
    local revision = held and struct.unpack('>I4', held) or 0
    if revision ~= tonumber(ARGV[i + 1]) then return 0 end
  end
end

for i = 2, #ARGV, 3 do
  if ARGV[i + 2] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
  end
end
return 1
