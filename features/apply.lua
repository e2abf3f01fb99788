-- Folds a batch of one user's events into the stored profile, once: the fence, the fold and the stamp are one step.
-- The same fold as features/history.py, on its encoding; the batch arrives folded and encoded the same way.
--
-- KEYS  1 history (string)   2 items that left it (sorted set: item -> newest time)   3 meta (hash)
--       4 vectors, 5 summaries, 6 soft prompts, 7 weight updates, with an erasure only
-- ARGV  1 limit   2 "log_id:partition"   3 offset of the batch's last record   4 erased at, or ''
--       5 the batch, encoded   6... time, item, time, item, ... of the batch's events that are not in it
-- meta  "log_id:partition" -> offset applied   a -> the field that was written last   t -> erased at
-- Returns 1 when applied, 0 when the fence has seen the batch.

local unpack_at = struct.unpack
local sub, byte, find, match = string.sub, string.byte, string.find, string.match
local left = {}  -- item -> newest time of an event that leaves the history

-- Bytes, not collation: Lua's < on strings follows the server's locale.
local function bytes_after(a, b)
  if a == b then return false end
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local function id_at(history, place)
  local id_length = unpack_at('>I2', history, place + 10)
  return sub(history, place + 12, place + 11 + id_length)
end

-- Remembers the item, if it has one, of the record at this place, which leaves the history.
local function leave(history, place)
  local length, time, id_length = unpack_at('>I2dI2', history, place)
  local array = sub(history, place + 12 + id_length, place + length - 3)
  if byte(array, 2) ~= 34 then return end  -- no quote: null
  local item = match(array, '^%["([^"\\]*)"') or cjson.decode(array)[1]
  if not left[item] or time > left[item] then left[item] = time end
end

-- The records before the first one whose time is not after `at`, and how many they are.
local function newer_than(history, at)
  local place, kept, stop = 3, 0, #history
  while place <= stop do
    local length, time = unpack_at('>I2d', history, place)
    if time <= at then return sub(history, 3, place - 1), kept end
    place, kept = place + length, kept + 1
  end
  return sub(history, 3), kept
end

-- Whether some id of the batch may be in the stored history: its bytes, its length before them, the array after them.
local function shares_an_id(stored, batch)
  local place, stop = 3, #batch
  while place <= stop do
    local length, _, id_length = unpack_at('>I2dI2', batch, place)
    local needle = sub(batch, place + 12, place + 12 + id_length)
    local found = find(stored, needle, 1, true)
    while found do
      if unpack_at('>I2', stored, found - 2) == id_length then return true end
      found = find(stored, needle, found + 1, true)
    end
    place = place + length
  end
  return false
end

-- Both newest first and no id in both: stretches of the stored records are copied whole between the new ones.
local function merge(stored, batch)
  local pieces, from, place, stop = {}, 3, 3, #stored
  local new, new_stop = 3, #batch
  while new <= new_stop do
    local new_length, new_time = unpack_at('>I2d', batch, new)
    while place <= stop do
      local length, time = unpack_at('>I2d', stored, place)
      if time < new_time then break end
      if time == new_time and bytes_after(id_at(batch, new), id_at(stored, place)) then break end
      place = place + length
    end
    if place > from then
      pieces[#pieces + 1] = sub(stored, from, place - 1)
      from = place
    end
    pieces[#pieces + 1] = sub(batch, new, new + new_length - 1)
    new = new + new_length
  end
  pieces[#pieces + 1] = sub(stored, from)
  return table.concat(pieces)
end

-- Some id may be in both: of two records with one id the greater (time, content hash) wins, and the other leaves.
local function merge_by_id(stored, batch)
  local by_id = {}
  for _, history in ipairs({stored, batch}) do
    local place, stop = 3, #history
    while place <= stop do
      local length, time = unpack_at('>I2d', history, place)
      local id, record = id_at(history, place), sub(history, place, place + length - 1)
      local held = by_id[id]
      if not held then
        by_id[id] = {time = time, id = id, record = record}
      elseif record ~= held.record then
        if time > held.time
          or (time == held.time and redis.sha1hex(record) > redis.sha1hex(held.record)) then
          by_id[id] = {time = time, id = id, record = record}
          record = held.record
        end
        leave(record, 1)
      end
      place = place + length
    end
  end
  local all, records = {}, {}
  for _, held in pairs(by_id) do all[#all + 1] = held end
  table.sort(all, function(a, b)
    if a.time ~= b.time then return a.time > b.time end
    return bytes_after(a.id, b.id)
  end)
  for i, held in ipairs(all) do records[i] = held.record end
  return table.concat(records), #all
end

local limit, field, offset = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local meta = redis.call('HMGET', KEYS[3], field, 't')
if meta[1] and tonumber(meta[1]) >= offset then return 0 end

local erased = meta[2] and tonumber(meta[2]) or nil
local given = ARGV[4] ~= '' and tonumber(ARGV[4]) or nil
local erases = given and (not erased or given > erased)
local stored = redis.call('GET', KEYS[1]) or ''
local batch = ARGV[5]

if erases then
  erased = given
  redis.call('HSET', KEYS[3], 't', ARGV[4])
  redis.call('DEL', KEYS[4], KEYS[5], KEYS[6], KEYS[7])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
  if stored ~= '' then
    local records, kept = newer_than(stored, erased)
    stored = kept > 0 and struct.pack('>I2', kept) .. records or ''
    if kept == 0 then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], stored) end
  end
end
if erased and batch ~= '' then
  local records, kept = newer_than(batch, erased)
  batch = kept > 0 and struct.pack('>I2', kept) .. records or ''
end

if batch ~= '' then
  local records, count
  if stored == '' then
    records, count = sub(batch, 3), unpack_at('>I2', batch, 1)
  elseif shares_an_id(stored, batch) then
    records, count = merge_by_id(stored, batch)
  else
    records, count = merge(stored, batch), unpack_at('>I2', stored, 1) + unpack_at('>I2', batch, 1)
  end
  local stop = #records
  while count > limit do
    stop = stop - unpack_at('>I2', records, stop - 1)
    count = count - 1
    leave(records, stop + 1)
  end
  redis.call('SET', KEYS[1], struct.pack('>I2', count) .. sub(records, 1, stop))
end

for i = 6, #ARGV, 2 do
  local time, item = tonumber(ARGV[i]), ARGV[i + 1]
  if (not erased or time > erased) and (not left[item] or time > left[item]) then left[item] = time end
end
local pairs_ = {}
for item, time in pairs(left) do
  pairs_[#pairs_ + 1] = string.format('%.17g', time)
  pairs_[#pairs_ + 1] = item
end
for first = 1, #pairs_, 1000 do  -- in slices: Lua passes a few thousand arguments to a call, not more
  redis.call('ZADD', KEYS[2], 'GT', unpack(pairs_, first, math.min(first + 999, #pairs_)))
end

redis.call('HSET', KEYS[3], field, ARGV[3], 'a', field)
return 1
