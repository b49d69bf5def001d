"""What Redis does in one step: publish with history, read a history, count subscribers.

A topic has three keys in one hash slot. ``m``, a hash: ``o`` the offset of the last message, ``e``
the epoch, ``r`` the run of the engine (its ``run_id``) in which that epoch began, ``c`` the epochs
before it with their last offsets, ``p:<process>`` the last sequence number of a process and when it
came. ``s``, a stream whose ids are ``<offset>-<milliseconds>``. ``n``, a hash of the processes
with their subscribers.

A new run may have less than the run before it: what was not written to disk, or had not reached the
replica. So it begins a new epoch; the chain of epochs says up to which offset an earlier one is
valid, and a position after that is not recovered.
"""

from __future__ import annotations

from hashlib import sha1

__all__ = ["ANNOUNCE", "COUNT", "HISTORY", "PUBLISH", "RedisScript"]


class RedisScript:
    """A Lua script and the digest by which it is called."""

    def __init__(self, text: str) -> None:
        self.text = text.encode("ascii")
        self.digest = sha1(self.text).hexdigest().encode("ascii")  # noqa: S324 - Redis' name for it


# KEYS: m, s. ARGV: run, process, seconds that m is kept, then those of each script.
_LIFE = """
local m, s, run, process, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', m, 'o', 'e', 'r', 'p:' .. process, 'c')
local offset, epoch, chain = tonumber(state[1] or '0'), state[2], state[5] or ''
local function int(number) return string.format('%.0f', number) end
local is_new = not epoch
if is_new or (run ~= '' and state[3] ~= run) then
  if not is_new then
    chain = epoch .. ':' .. int(offset) .. ' ' .. chain
    local kept, last = 0, #chain
    for at in string.gmatch(chain, '() ') do
      kept = kept + 1
      if kept == 16 then last = at end
    end
    chain = string.sub(chain, 1, last)
  end
  epoch = string.format('%x%05x', time[1], time[2]) .. string.sub(process, 1, 6)
  -- First, because an engine without memory refuses no write of a script after its first one.
  redis.call('HSET', m, 'o', int(offset), 'e', epoch, 'r', run, 'c', chain)
  if is_new then redis.call('DEL', s) end
end
local function first_after(at, age)
  -- The first entry that is not too old. Bisected: many may be, and the engine serves others, too.
  local low, high, first = at + 1, offset + 1, nil
  local middle = low
  while low < high do
    local entry = redis.call('XRANGE', s, int(middle), '+', 'COUNT', 1)[1]
    local found, time = string.match(entry and entry[1] or '', '(%d+)-(%d+)')
    if not found then
      high = middle
    elseif age == 0 or tonumber(time) >= ms - age then
      high, first = middle, tonumber(found)
    else
      low = found + 1
    end
    middle = low + math.floor((high - low) / 2)
  end
  return first
end
"""

# ARGV: sequence number, that which must be there before it (0: any), messages kept, milliseconds
# (0: any), seconds that s is kept, channel, command, process (raw), seconds that a process is kept,
# records.
PUBLISH = RedisScript(
    _LIFE
    + """
local sequence, before = tonumber(ARGV[4]), tonumber(ARGV[5])
local seen = state[4] and tonumber(string.match(state[4], '^%d+')) or 0
if seen >= sequence then return offset end
if seen < before then return redis.error_reply('PICOWSORDER the message before is missing') end
local size, age, first = tonumber(ARGV[6]), tonumber(ARGV[7]), offset
local head = ARGV[11]
for i = 13, #ARGV do
  offset = offset + 1
  redis.call('XADD', s, int(offset) .. '-' .. int(ms), 'd', head .. ARGV[i])
end
if age > 0 then size = math.min(size, offset + 1 - first_after(0, age)) end
redis.call('XTRIM', s, 'MAXLEN', size)
redis.call('HSET', m, 'o', int(offset), 'p:' .. process, ARGV[4] .. ' ' .. time[1])
redis.call('EXPIRE', m, ttl)
redis.call('EXPIRE', s, ARGV[8])
if math.floor(offset / 256) ~= math.floor(first / 256) and redis.call('HLEN', m) > 36 then
  local fields = redis.call('HGETALL', m)
  for i = 1, #fields, 2 do
    local at = string.sub(fields[i], 1, 2) == 'p:' and string.match(fields[i + 1], '%d+$')
    if at and tonumber(at) < time[1] - tonumber(ARGV[12]) then redis.call('HDEL', m, fields[i]) end
  end
end
local line = string.char(2) .. epoch .. ' ' .. int(first + 1) .. '\\n'
redis.call(ARGV[10], ARGV[9], line .. head .. table.concat(ARGV, '', 13))
return offset
"""
)

# ARGV: offset (empty: none), epoch, milliseconds (0: any), how many of the last ones to return if
# something after that offset is missing, entries and bytes after which a page ends. Returns offset,
# epoch, whether nothing is missing, entries, the offset of the first of them.
HISTORY = RedisScript(
    _LIFE
    + """
redis.call('EXPIRE', m, ttl)
local since, known, age, wanted = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local function is_valid()
  local valid = offset
  if known == epoch then return since <= valid end
  for name, last in string.gmatch(chain, '(%S+):(%d+)') do
    valid = math.min(valid, tonumber(last))
    if name == known then return since <= valid end
  end
end
if not since and wanted == 0 then return {offset, epoch, 1, {}, 0} end
local first = since and is_valid() and (since == offset and offset + 1 or first_after(since, age))
local is_complete = first and first == since + 1 and 1 or 0
if is_complete == 0 then first = wanted > 0 and first_after(math.max(0, offset - wanted), age) end
local found, bytes, count = {}, 0, 1
while first do
  -- Few at first: how large entries are is known when they are here.
  local entries = redis.call('XRANGE', s, int(first + #found), '+', 'COUNT', count)
  for _, entry in ipairs(entries) do
    found[#found + 1] = entry[2][2]
    bytes = bytes + #entry[2][2]
    if bytes >= tonumber(ARGV[9]) then break end
  end
  if #entries < count or #found >= tonumber(ARGV[8]) or bytes >= tonumber(ARGV[9]) then break end
  count = math.min(2 * count, 16)
end
return {offset, epoch, is_complete, found, first or 0}
"""
)

# KEYS: n. Returns the sum of what processes have said that have not been silent for too long.
COUNT = RedisScript(
    """
local now, sum, fields = tonumber(redis.call('TIME')[1]), 0, redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local count, until_ = string.match(fields[i + 1], '(%d+) (%d+)')
  if tonumber(until_) < now then redis.call('HDEL', KEYS[1], fields[i]) else sum = sum + count end
end
return sum
"""
)

# KEYS: n. ARGV: process, subscribers, seconds.
ANNOUNCE = RedisScript(
    """
if ARGV[2] == '0' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
local until_ = redis.call('TIME')[1] + ARGV[3]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', until_))
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1
"""
)
