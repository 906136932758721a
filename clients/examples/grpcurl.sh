#!/bin/sh
# grpcurl against the gateway: what there is, its health, a whole answer and a streamed one.
set -eu

address="${LLMGATEWAY_GRPC_ADDRESS:-127.0.0.1:50051}"
question='{"model": "fake/echo", "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello from grpcurl"}]}]}'

call() { # call [OPTION...] [METHOD]: the key goes with reflection too, which needs it
  grpcurl -plaintext -H "authorization: Bearer $LLMGATEWAY_API_KEY" "$@"
}

call "$address" list
call "$address" describe llmgateway.v1.ChatService
call -d '{"service": "llmgateway.v1.ChatService"}' "$address" grpc.health.v1.Health/Check
call -d "$question" "$address" llmgateway.v1.ChatService/CompleteChat
call -d "$question" "$address" llmgateway.v1.ChatService/StreamChat
