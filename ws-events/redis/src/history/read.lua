-- KEYS: the stream and the state of a room. ARGV: the run of the server, the most records, and for
-- those behind a position its epoch and its offset.
local epoch, last, bytes, age = open(KEYS[1], KEYS[2], ARGV[1])
keep(KEYS[2], age)
local len, left = trim(KEYS[1], last, bytes, math.huge, math.huge, now() - age)
if left ~= bytes then redis.call('HSET', KEYS[2], 'bytes', number(left)) end
local entries = {}
if ARGV[3] then
  local offset = tonumber(ARGV[4])
  if ARGV[3] ~= epoch or offset > last then return {'unknown'} end
  if offset < last - len then return {'trimmed'} end
  if ARGV[2] ~= '0' then
    entries = redis.call('XRANGE', KEYS[1], number(offset + 1), '+', 'COUNT', ARGV[2])
  end
elseif ARGV[2] ~= '0' then
  entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
end
return {'page', epoch, number(last), entries}
