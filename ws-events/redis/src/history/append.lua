-- KEYS: the stream and the state of a room. ARGV: the run of the server, PUBLISH or SPUBLISH, the
-- channel, the key, the limits (messages, bytes, milliseconds), the record. Returns 0 if the record is
-- not stored, or an error if the server stores none.
--
-- A call to Redis is what costs, so the common case has few: the oldest records go when they are a
-- sixteenth too many, or sixteen, and once a second. Those that read the history remove them before.
local function append()
  local stream, state = KEYS[1], KEYS[2]
  local room, time = open(stream, state, ARGV[1]), now()
  local messages, most, age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local key, record = ARGV[4], ARGV[8]
  room.last = room.last + 1
  local offset = number(room.last)
  local id = offset .. '-' .. number(time)
  local is_new = not redis.call('XADD', stream, 'NOMKSTREAM', id, 'r', record)
  if is_new then
    -- All records were too old.
    redis.call('XADD', stream, id, 'r', record)
    room.first, room.bytes = room.last, 0
  end
  room.bytes = room.bytes + string.len(record) + 64

  -- The clock may step.
  local is_due = is_new or age ~= room.age or messages ~= room.messages or most ~= room.most
    or math.abs(time - room.kept) >= 1000
  local len = room.last - room.first + 1
  if is_due or len > messages + math.min(16, messages / 16) or room.bytes > most * 17 / 16 then
    room.messages, room.most = messages, most
    trim(stream, room, time - age)
    redis.call('HSET', state, 'last', offset, 'first', number(room.first), 'bytes', number(room.bytes))
  else
    redis.call('HSET', state, 'last', offset, 'bytes', number(room.bytes))
  end
  if is_due then
    -- A second longer than needed, so that it is long enough until the next time.
    redis.call('PEXPIRE', stream, number(age + 2000))
    keep(state, age)
    redis.call('HSET', state, 'age', ARGV[7], 'messages', ARGV[5], 'most', ARGV[6],
      'kept', number(time))
  end
  local head = 'r' .. room.epoch .. offset .. ' ' .. string.len(key) .. ' '
  return 1 + redis.call(ARGV[2], ARGV[3], head .. key .. record)
end
local is_stored, answer = pcall(append)
return is_stored and answer or refused(answer)
