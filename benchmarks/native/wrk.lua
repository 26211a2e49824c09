-- wrk's side of a measurement. Argument: a file of requests, each behind its size (32 bits, the
-- lowest byte first); they are sent one after the other and again from the beginning.

local requests, following = {}, 0

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local data, at = file:read("*a"), 1
   file:close()
   while at < #data do
      local a, b, c, d = data:byte(at, at + 3)
      local size = a + 256 * (b + 256 * (c + 256 * d))
      requests[#requests + 1] = data:sub(at + 4, at + 3 + size)
      at = at + 4 + size
   end
end

function request()
   following = following % #requests + 1
   return requests[following]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %f, "bytes": %d, "p50_us": %d, "p99_us": %d, '
         .. '"p999_us": %d, "max_us": %d, "connect_errors": %d, "read_errors": %d, '
         .. '"write_errors": %d, "status_errors": %d, "timeouts": %d}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50),
      latency:percentile(99), latency:percentile(99.9), latency.max, errors.connect, errors.read,
      errors.write, errors.status, errors.timeout))
end
