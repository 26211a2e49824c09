-- wrk's side of a measurement. Arguments: method, path, kind of head, bytes of body, keep-alive or close.
-- A "browser" head is what a current browser sends: 17 fields, about 770 bytes, with a path and a
-- cookie of its own for each request, so that nothing can be remembered from the one before.

local requests, following = {}, 0

local function browser_fields(number)
   return {
      ["Host"] = "shop.example.com",
      ["Connection"] = "keep-alive",
      ["Cache-Control"] = "max-age=0",
      ["sec-ch-ua"] = '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
      ["sec-ch-ua-mobile"] = "?0",
      ["sec-ch-ua-platform"] = '"Linux"',
      ["Upgrade-Insecure-Requests"] = "1",
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
         .. "Chrome/142.0.0.0 Safari/537.36",
      ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
      ["Sec-Fetch-Site"] = "same-origin",
      ["Sec-Fetch-Mode"] = "navigate",
      ["Sec-Fetch-User"] = "?1",
      ["Sec-Fetch-Dest"] = "document",
      ["Referer"] = "https://shop.example.com/list",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Accept-Language"] = "en-GB,en;q=0.9",
      ["Cookie"] = string.format("session=%08x%08x; theme=dark", number * 2654435761 % 2 ^ 32, number),
   }
end

function init(arguments)
   local method, path, head, size, connection = unpack(arguments)
   for number = 1, head == "browser" and 1000 or 1 do
      local fields, target, body = {}, path, nil
      if head == "browser" then
         fields = browser_fields(number)
         target = string.format("%s/%d?page=%d", path, number, number % 17)
      else
         fields["User-Agent"], fields["Accept"] = "curl/8.11.0", "*/*"
      end
      if connection == "close" then
         fields["Connection"] = "close"
      end
      if tonumber(size) > 0 then
         body = string.rep("u", tonumber(size))
      end
      requests[number] = wrk.format(method, target, fields, body)
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
