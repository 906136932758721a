#!/bin/sh
# buf curl against the gateway: what there is, its health, a whole answer and a streamed one.
set -eu

url="http://${LLMGATEWAY_GRPC_ADDRESS:-127.0.0.1:50051}"
question='{"model": "fake/echo", "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello from buf"}]}]}'

call() { # call [OPTION...] URL: the key goes with reflection too, which needs it
  buf curl --protocol grpc --http2-prior-knowledge \
    --header "authorization: Bearer $LLMGATEWAY_API_KEY" --reflect-header "authorization: Bearer $LLMGATEWAY_API_KEY" "$@"
}

call --list-services "$url"
call --data '{"service": "llmgateway.v1.ChatService"}' "$url/grpc.health.v1.Health/Check"
call --data "$question" "$url/llmgateway.v1.ChatService/CompleteChat"
call --data "$question" "$url/llmgateway.v1.ChatService/StreamChat"
