local function number(n)
  return string.format('%.0f', n)
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The state of a room: its epoch, the offsets of its last and its oldest record, the bytes of its
-- records, the limits, and when an append has last said to Redis how long to keep it. A server that was
-- started again may have an old state, and another version one without a field: the room begins anew.
local function open(stream, state, run)
  local fields = redis.call('HMGET', state, 'epoch', 'run', 'last', 'first', 'bytes', 'age', 'messages',
    'most', 'kept')
  local epoch = fields[1]
  if epoch and fields[2] == run and fields[4] then
    return {epoch = epoch, last = tonumber(fields[3]), first = tonumber(fields[4]),
      bytes = tonumber(fields[5]), age = tonumber(fields[6]), messages = tonumber(fields[7]),
      most = tonumber(fields[8]), kept = tonumber(fields[9])}
  end
  local time = redis.call('TIME')
  epoch = string.sub(redis.sha1hex(table.concat({stream, run, time[1], time[2]}, ' ')), 1, 16)
  -- First what needs memory: Redis looks at `maxmemory` before the first write of a script alone.
  redis.call('HSET', state, 'epoch', epoch, 'run', run, 'last', 0, 'first', 1, 'bytes', 0, 'age', 0,
    'messages', 0, 'most', 0, 'kept', 0)
  redis.call('DEL', stream)
  return {epoch = epoch, last = 0, first = 1, bytes = 0, age = 0, messages = 0, most = 0, kept = 0}
end

-- Keeps the state a day longer than the records, so that the position of a quiet room stays valid.
local function keep(state, age)
  redis.call('PEXPIRE', state, number(age + 86400000))
end

-- Removes the oldest records beyond the limits. The offsets of those that stay have no gaps. An entry is
-- offset-milliseconds. Returns whether it has changed anything.
local function trim(stream, room, oldest)
  local before, gone = room.bytes, true
  while gone do
    local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', 16)
    gone = false
    for _, entry in ipairs(entries) do
      local offset, time = string.match(entry[1], '^(%d+)-(%d+)$')
      room.first = tonumber(offset)
      gone = room.last - offset >= room.messages or room.bytes > room.most or tonumber(time) < oldest
      if not gone then break end
      room.first = offset + 1
      room.bytes = room.bytes - string.len(entry[2][2]) - 64
    end
    if #entries == 0 then
      room.first, room.bytes = room.last + 1, 0
    else
      redis.call('XTRIM', stream, 'MINID', number(room.first))
    end
  end
  return room.bytes ~= before
end

-- The answer of a script that has failed: 0, since an error ends the session, and with it the requests for
-- other rooms. A server that has become a replica refuses those, too, so the session has to end.
local function refused(cause)
  -- Before Redis 7, the cause is a text.
  local text = type(cause) == 'table' and cause.err or cause
  if string.find(tostring(text), 'READONLY', 1, true) then
    return redis.error_reply('READONLY the server is a replica')
  end
  return 0
end
