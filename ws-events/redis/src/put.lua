-- KEYS: the record of a session. ARGV: its generation in 20 digits, the record, for how many milliseconds
-- it is kept. A record of a higher generation stays.
if redis.call('GETRANGE', KEYS[1], 0, 19) <= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
end
return 0
