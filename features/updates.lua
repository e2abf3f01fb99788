-- Stores what a user's events have made of a weight update while it is still the one that they were added to.
--
-- An update is not made of the profile but of the update before, so it may stay behind the profile and must not lose a
-- step: the writer says which revision it read. What was made of events that were erased since must not come back: it
-- says too which erasure it knew of.
--
-- KEYS  1 meta (hash, as apply.lua says)   2 updates (string, as features/updates.py says)
-- ARGV  1 erased at, as it was read with the update, or ''   2 revision that was read, 0 for none
--       3 model   4 the record   5 bytes of a record's length
-- Returns 1 when stored, and when it was already; 0 when the user is not known, was erased since, or when somebody else
-- has written since.

local meta = redis.call('HMGET', KEYS[1], 'a', 't')
if not meta[1] or tonumber(meta[2] or '') ~= tonumber(ARGV[1]) then return 0 end

local stored = redis.call('GET', KEYS[2]) or ''

-- The model's record and another model's, '' for none. What is damaged raises, and is written over.
local function records()
  local own, other, place, head = '', '', 1, tonumber(ARGV[5])
  while place <= #stored do
    local length, model_length = struct.unpack('>I' .. head .. 'B', stored, place)
    if length <= head or place + length - 1 > #stored then error('damaged') end
    local record = string.sub(stored, place, place + length - 1)
    if string.sub(record, head + 2, head + 1 + model_length) == ARGV[3] then
      own = record
    elseif other == '' then
      other = record
    end
    place = place + length
  end
  return own, other
end

local function revision(record)
  if record == '' then return 0 end
  local head = tonumber(ARGV[5])
  local place = head + 2 + struct.unpack('B', record, head + 1)
  return struct.unpack('>I4', record, place + 1 + struct.unpack('B', record, place))
end

local is_whole, own, other = pcall(records)
if not is_whole then own, other = '', '' end
if own == ARGV[4] then return 1 end
local is_read, written = pcall(revision, own)
if (is_read and written or 0) ~= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], ARGV[4] .. other)
return 1
