-- Gives a failed call the status and the body that a REST caller expects.
--
-- The server ends a failed call with trailing metadata and nothing else. Envoy sees one block of headers, and the
-- transcoder has made a status and a google.rpc.Status body of it before this runs. What is left to do here:
--
--   x-error-body   JSON, escaped to ASCII, to send instead of google.rpc.Status
--   x-http-status  a status to send instead of the one that stands for the gRPC code
--
-- An answer without these headers and without a 429 leaves after three look-ups.

-- gRPC itself refuses what is over the server's limits, below the server's own code, and with a code that means 429.
-- SDKs repeat a 429; these stay refused however often they are sent.
local OVER_A_LIMIT = {
  { says = "message larger than max", status = "413", code = "request_too_large",
    message = "The request is larger than the gateway takes." },
  { says = "metadata size exceeds", status = "431", code = "headers_too_large",
    message = "The request headers are larger than the gateway takes." },
}

local OPENAI = '{"error":{"code":"%s","message":"%s","param":null,"type":"invalid_request_error"}}'
local GOOGLE = '{"code":3,"message":"%s","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
  .. '"reason":"REQUEST_TOO_LARGE","domain":"llmgateway.dev"}]}'

-- Has to come last: the header object goes out of scope while the body is waited for.
local function replace_body(handle, text)
  handle:headers():replace("content-type", "application/json")
  handle:body(true):setBytes(text)
end

local function name_the_limit(handle)
  local body = handle:body(true)
  local text = body:getBytes(0, body:length())
  for _, limit in ipairs(OVER_A_LIMIT) do
    if text:find(limit.says, 1, true) then
      handle:headers():replace(":status", limit.status)
      if handle:metadata():get("errors") == "openai" then
        replace_body(handle, OPENAI:format(limit.code, limit.message))
      else
        replace_body(handle, GOOGLE:format(limit.message))
      end
      return
    end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local body = headers:get("x-error-body")
  local status = headers:get("x-http-status")
  if status then
    headers:replace(":status", status)
  end
  if body then
    replace_body(handle, body)
  elseif not status and headers:get(":status") == "429" then
    name_the_limit(handle)
  end
end
