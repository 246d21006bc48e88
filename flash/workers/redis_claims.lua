-- The table of claims in Redis: which of several workers holds which browsers, for workers of any machine.
--
-- One script, so that each operation is atomic. ARGV has the operation, the prefix of all keys, and its arguments.
-- A worker is named by its address. It lives as long as its record, which its heartbeats keep from expiring:
--
--   <prefix>worker:<address>   hash of `name` and `stopping`; expires when its worker's heartbeats stop
--   <prefix>workers            set of the addresses of workers, some of which may have lapsed
--   <prefix>browser:<key>      the address of the browser's holder; void when that worker does not live
--   <prefix>settling           exists while workers write back what they hold: nobody takes a browser meanwhile
--
-- redis_claims.py calls it, and says what each operation is for.

local prefix = ARGV[2]
local operations = {}

local function worker_key(address)
  return prefix .. 'worker:' .. address
end

local function browser_key(browser)
  return prefix .. 'browser:' .. browser
end

local function lives(address)
  return redis.call('EXISTS', worker_key(address)) == 1
end

local function is_stopping(address)
  return redis.call('HGET', worker_key(address), 'stopping') == '1'
end

local function holder(address)
  return {'held', redis.call('HGET', worker_key(address), 'name'), address}
end

-- Milliseconds: `lease`, and `settle`, which is 0 for a worker that has not taken part before.
function operations.join(address, name, stopping, lease, settle)
  if settle ~= '0' and not lives(address) then
    redis.call('SET', prefix .. 'settling', address, 'PX', settle, 'NX')
  end
  redis.call('HSET', worker_key(address), 'name', name, 'stopping', stopping)
  redis.call('PEXPIRE', worker_key(address), lease)
  redis.call('SADD', prefix .. 'workers', address)
end

-- Returns 0 if the worker has lapsed.
function operations.beat(address, lease)
  return redis.call('PEXPIRE', worker_key(address), lease)
end

function operations.stop(address)
  if lives(address) then
    redis.call('HSET', worker_key(address), 'stopping', '1')
  end
end

function operations.leave(address)
  redis.call('DEL', worker_key(address))
  redis.call('SREM', prefix .. 'workers', address)
end

-- `dead` is the address of a worker that does not live any more, though its record does; or ''.
function operations.claim(address, browser, ttl, dead)
  if not lives(address) then
    return {'lapsed'}
  end
  local key = browser_key(browser)
  local held_by = redis.call('GET', key)
  if held_by and held_by ~= dead and lives(held_by) then
    if held_by == address or is_stopping(address) or not is_stopping(held_by) then
      return holder(held_by)
    end
  elseif not is_stopping(address) and redis.call('EXISTS', prefix .. 'settling') == 1 then
    return {'settling'}
  end
  if is_stopping(address) then
    return {'refused'}
  end
  redis.call('SET', key, address, 'PX', ttl)
  return holder(address)
end

-- `left` is how long the record of a worker lives at least whose heartbeats are in time. A worker that stops counts as
-- late: its server is gone, or about to be. Returns 1 or 0.
function operations.is_late(address, left)
  return (is_stopping(address) or redis.call('PTTL', worker_key(address)) < tonumber(left)) and 1 or 0
end

-- The same `left`. Returns 1 if the worker stops, which keeps its record, or 0.
function operations.forget_late(address, left)
  if is_stopping(address) then
    return 1
  end
  if operations.is_late(address, left) == 1 then
    operations.leave(address)
  end
  return 0
end

function operations.give_up(address, browser)
  if redis.call('GET', browser_key(browser)) == address then
    redis.call('DEL', browser_key(browser))
  end
end

-- Returns those of the browsers that other workers hold.
function operations.hold(address, ttl, ...)
  local lost = {}
  for _, browser in ipairs({...}) do
    local key = browser_key(browser)
    local held_by = redis.call('GET', key)
    if held_by and held_by ~= address and lives(held_by) then
      lost[#lost + 1] = browser
    else
      redis.call('SET', key, address, 'PX', ttl)
    end
  end
  return lost
end

-- Returns name, address, name, address, ...
function operations.workers()
  local found = {}
  for _, address in ipairs(redis.call('SMEMBERS', prefix .. 'workers')) do
    local name = redis.call('HGET', worker_key(address), 'name')
    if name then
      found[#found + 1] = name
      found[#found + 1] = address
    else
      redis.call('SREM', prefix .. 'workers', address)
    end
  end
  return found
end

return operations[ARGV[1]](unpack(ARGV, 3))
