-- KEYS: the stream and the state of a room. ARGV: the run of the server, the epoch and the offset of
-- the last record that is removed.
local room = open(KEYS[1], KEYS[2], ARGV[1])
keep(KEYS[2], room.age)
if ARGV[2] == room.epoch then
  local gone = redis.call('XRANGE', KEYS[1], '-', ARGV[3] .. '-18446744073709551615')
  for _, entry in ipairs(gone) do room.bytes = room.bytes - string.len(entry[2][2]) - 64 end
  if #gone > 0 then
    local next = number(string.match(gone[#gone][1], '^(%d+)') + 1)
    redis.call('XTRIM', KEYS[1], 'MINID', next)
    redis.call('HSET', KEYS[2], 'first', next, 'bytes', number(room.bytes))
  end
end
return 0
