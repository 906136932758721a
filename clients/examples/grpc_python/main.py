"""The stubs that protoc writes: a whole answer, then a streamed one."""

import os

import grpc

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.chat_service_pb2_grpc import ChatServiceStub
from llmgateway.v1.content_pb2 import Message, Part, Role

ADDRESS = os.environ.get("LLMGATEWAY_GRPC_ADDRESS", "127.0.0.1:50051")
METADATA = (("authorization", f"Bearer {os.environ['LLMGATEWAY_API_KEY']}"),)
QUESTION = ChatRequest(
    model="fake/echo",
    messages=[Message(role=Role.ROLE_USER, parts=[Part(text="Hello from gRPC")])],
)

with grpc.insecure_channel(ADDRESS) as channel:
    chat = ChatServiceStub(channel)
    answer = chat.CompleteChat(QUESTION, metadata=METADATA, timeout=30)
    print("".join(part.text for part in answer.message.parts))

    whole = False
    for event in chat.StreamChat(QUESTION, metadata=METADATA, timeout=30):
        print(event.part_delta.text, end="", flush=True)
        if event.HasField("finished"):
            whole = True
            print(f" ({event.finished.usage.output_tokens} tokens)")
    # A stream that ends without its last event has failed.
    if not whole:
        raise SystemExit("the answer broke off")
