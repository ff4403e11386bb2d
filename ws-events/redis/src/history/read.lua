-- KEYS: the stream and the state of a room. ARGV: the run of the server, the most records, and for
-- those behind a position its epoch and its offset.
local room = open(KEYS[1], KEYS[2], ARGV[1])
keep(KEYS[2], room.age)
if trim(KEYS[1], room, now() - room.age) then
  redis.call('HSET', KEYS[2], 'first', number(room.first), 'bytes', number(room.bytes))
end
local entries = {}
if ARGV[3] then
  local offset = tonumber(ARGV[4])
  if ARGV[3] ~= room.epoch or offset > room.last then return {'unknown'} end
  if offset < room.first - 1 then return {'trimmed'} end
  if ARGV[2] ~= '0' then
    entries = redis.call('XRANGE', KEYS[1], number(offset + 1), '+', 'COUNT', ARGV[2])
  end
elseif ARGV[2] ~= '0' then
  entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
end
return {'page', room.epoch, number(room.last), entries}
