-- KEYS: the stream and the state of a room. ARGV: the run of the server, PUBLISH or SPUBLISH, the
-- channel, the key, the limits (messages, bytes, milliseconds), the record. Returns 0 if the record is
-- not stored: an error would end the session, and with it those of other rooms.
local function append()
  local epoch, last, bytes = open(KEYS[1], KEYS[2], ARGV[1])
  local age, record, time = tonumber(ARGV[7]), ARGV[8], now()
  if redis.call('EXISTS', KEYS[1]) == 0 then bytes = 0 end
  last = last + 1
  redis.call('XADD', KEYS[1], number(last) .. '-' .. number(time), 'r', record)
  bytes = bytes + string.len(record) + 64
  local _, left = trim(KEYS[1], last, bytes, tonumber(ARGV[5]), tonumber(ARGV[6]), time - age)
  redis.call('HSET', KEYS[2], 'last', number(last), 'bytes', number(left), 'age', ARGV[7])
  redis.call('PEXPIRE', KEYS[1], number(age + 1000))
  keep(KEYS[2], age)
  local head = 'r' .. epoch .. number(last) .. ' ' .. string.len(ARGV[4]) .. ' '
  return 1 + redis.call(ARGV[2], ARGV[3], head .. ARGV[4] .. record)
end
local is_stored, answer = pcall(append)
return is_stored and answer or 0
