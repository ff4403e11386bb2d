-- KEYS: the stream and the state of a room. ARGV: the run of the server, the epoch and the offset of
-- the last record that is removed.
local epoch, _, bytes, age = open(KEYS[1], KEYS[2], ARGV[1])
keep(KEYS[2], age)
if ARGV[2] == epoch then
  local gone = redis.call('XRANGE', KEYS[1], '-', ARGV[3] .. '-18446744073709551615')
  for _, entry in ipairs(gone) do bytes = bytes - string.len(entry[2][2]) - 64 end
  if #gone > 0 then
    local next = string.match(gone[#gone][1], '^(%d+)') + 1
    redis.call('XTRIM', KEYS[1], 'MINID', number(next))
    redis.call('HSET', KEYS[2], 'bytes', number(bytes))
  end
end
return 0
