local function number(n)
  return string.format('%.0f', n)
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The epoch of a room, the offset of its last record, the bytes of its records, the age to which they
-- are kept, and when an append has last said so to Redis. A server that was started again may have an
-- old state: the room begins anew.
local function open(stream, state, run)
  local fields = redis.call('HMGET', state, 'epoch', 'run', 'last', 'bytes', 'age', 'kept')
  local epoch, last, bytes, age, kept = fields[1], 0, 0, 0, 0
  if epoch and fields[2] == run then
    last, bytes, age = tonumber(fields[3]), tonumber(fields[4]), tonumber(fields[5])
    kept = tonumber(fields[6]) or 0
  else
    local time = redis.call('TIME')
    epoch = string.sub(redis.sha1hex(table.concat({stream, run, time[1], time[2]}, ' ')), 1, 16)
    -- First what needs memory: Redis looks at `maxmemory` before the first write of a script alone.
    redis.call('HSET', state, 'epoch', epoch, 'run', run, 'last', 0, 'bytes', 0, 'age', 0, 'kept', 0)
    redis.call('DEL', stream)
  end
  return epoch, last, bytes, age, kept
end

-- Keeps the state a day longer than the records, so that the position of a quiet room stays valid.
local function keep(state, age)
  redis.call('PEXPIRE', state, number(age + 86400000))
end

-- Removes the oldest records beyond the limits. Returns how many are left, and their bytes. An entry
-- is offset-milliseconds.
local function trim(stream, last, bytes, messages, most, oldest)
  local len = redis.call('XLEN', stream)
  while len > 0 do
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local time = tonumber(string.match(first[1], '-(%d+)$'))
    if len <= messages and bytes <= most and time >= oldest then break end
    bytes = bytes - string.len(first[2][2]) - 64
    len = len - 1
    redis.call('XTRIM', stream, 'MINID', number(last - len + 1))
  end
  if len == 0 then bytes = 0 end
  return len, bytes
end
