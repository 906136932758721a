#!/bin/sh
# curl against the gateway: OpenAI's surface, whole and streamed, then the native one, whole and streamed.
set -eu

url="http://${LLMGATEWAY_REST_ADDRESS:-127.0.0.1:8080}"

ask() { # ask PATH BODY: posts the body with the key; fails when the gateway does
  curl --silent --show-error --fail-with-body --no-buffer "$url$1" \
    --header "authorization: Bearer $LLMGATEWAY_API_KEY" --header "content-type: application/json" --data "$2"
  echo
}

ask /v1/chat/completions '{"model": "fake/echo", "messages": [{"role": "user", "content": "Hello from curl"}]}'
ask /v1/chat/completions '{"model": "fake/echo", "messages": [{"role": "user", "content": "Hello from curl"}], "stream": true}'
ask /api/v1/models/fake/echo:completeChat '{"messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello from curl"}]}]}'
ask /api/v1/models/fake/echo:streamChat '{"messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello from curl"}]}]}'
