-- KEYS: the stream and the state of a room. ARGV: the run of the server, PUBLISH or SPUBLISH, the
-- channel, the key, the limits (messages, bytes, milliseconds), the record. Returns 0 if the record is
-- not stored: an error would end the session, and with it those of other rooms.
--
-- A call to Redis is what costs, so the common case has few: at most the oldest record goes, with the
-- command that adds one, and the keys get a new end once a second.
local function append()
  local stream, state, call = KEYS[1], KEYS[2], redis.call
  local epoch, last, bytes, kept_age, kept = open(stream, state, ARGV[1])
  local messages, most, age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local key, record, time = ARGV[4], ARGV[8], now()
  last = last + 1
  local offset, size = number(last), #record + 64
  local id = offset .. '-' .. number(time)

  -- The oldest record, and the next one.
  local old = call('XRANGE', stream, '-', '+', 'COUNT', 2)
  local first, second = old[1], old[2]
  if not first then bytes = 0 end
  bytes = bytes + size
  local function stays(entry)
    if not entry then return messages > 0 and bytes <= most end
    local from, at = string.match(entry[1], '^(%d+)-(%d+)$')
    return last - from < messages and bytes <= most and at + age >= time
  end
  local is_within = stays(first)
  if first and not is_within then
    bytes = bytes - #first[2][2] - 64
    call('XADD', stream, 'MINID', second and second[1] or id, id, 'r', record)
    is_within = stays(second)
  else
    call('XADD', stream, id, 'r', record)
  end
  if not is_within then
    local _, left = trim(stream, last, bytes, messages, most, time - age)
    bytes = left
  end

  -- A second longer than needed, so that it stays long enough until the next time. The clock may step.
  if not first or age ~= kept_age or math.abs(time - kept) >= 1000 then
    call('PEXPIRE', stream, number(age + 2000))
    keep(state, age)
    call('HSET', state, 'last', offset, 'bytes', number(bytes), 'age', ARGV[7], 'kept', number(time))
  else
    call('HSET', state, 'last', offset, 'bytes', number(bytes))
  end
  return 1 + call(ARGV[2], ARGV[3], 'r' .. epoch .. offset .. ' ' .. #key .. ' ' .. key .. record)
end
local is_stored, answer = pcall(append)
return is_stored and answer or 0
