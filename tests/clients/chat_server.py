"""Serves a chat service of the test's own on a real socket."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from llmgateway.v1 import chat_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason

KEY = "lgw_" + "k" * 32


@asynccontextmanager
async def serving(
    service: chat_service_pb2_grpc.ChatServiceServicer, *, options: Sequence[tuple[str, int]] = ()
) -> AsyncGenerator[str]:
    """Serves until left; the value is the address. `options` are those of a gRPC server."""
    server = grpc.aio.server(options=options)
    chat_service_pb2_grpc.add_ChatServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=0)


def whole_answer(*texts: str) -> list[ChatEvent]:
    """The events of an answer of one text part."""
    started = ChatEvent(started=Started(response_id="answer-1", deployment="deployments/fake"))
    deltas = [ChatEvent(part_delta=PartDelta(text=text)) for text in texts]
    finished = ChatEvent(finished=Finished(finish_reason=FinishReason.FINISH_REASON_STOP))
    return numbered(started, *deltas, finished)


def numbered(*events: ChatEvent) -> list[ChatEvent]:
    """The same events, numbered from 1."""
    for sequence, event in enumerate(events, start=1):
        event.sequence = sequence
    return list(events)


async def end_with(
    context: grpc.aio.ServicerContext[Message, Message], code: int, message: str, *details: Message
) -> None:
    """Ends the call with a status that carries details, as the gateway does."""
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    await context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message=message, details=packed)))
