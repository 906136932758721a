"""The Chat service: native conversations, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from llmgateway.v1 import chat_service_pb2 as pb
from llmgateway.v1 import chat_service_pb2_grpc
from llmgateway_server.api.rpc import CURRENT, Rpc
from llmgateway_server.api.status import failed_event
from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.events import fold
from llmgateway_server.pipeline import Call, Handler
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.system import Clock

Context = grpc.aio.ServicerContext[Any, Any]


def new_call(rpc: Rpc, request: pb.ChatRequest, *, stream: bool, clock: Clock) -> Call:
    """The journey of a request that the guard let in."""
    if request.request_id:
        if not request.request_id.isascii() or not request.request_id.isprintable() or " " in request.request_id:
            raise invalid_field("request_id", "must be visible ASCII characters.")
    else:
        request.request_id = rpc.request_id
    return Call(
        request=request,
        principal=rpc.principal,
        request_id=request.request_id,
        method=rpc.method,
        stream=stream,
        started=rpc.started,
        create_time=clock.now(),
        deadline=rpc.deadline,
    )


class ChatService(chat_service_pb2_grpc.ChatServiceServicer):
    """Hands requests to the pipeline and answers with what comes out."""

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self._handler = handler
        self._clock = clock

    async def CompleteChat(self, request: pb.ChatRequest, context: Context) -> pb.ChatResponse:
        call = new_call(CURRENT.get(), request, stream=False, clock=self._clock)
        async with closing(self._handler(call)) as events:
            return await fold(events)

    async def StreamChat(
        self,
        request: pb.ChatRequest,
        context: Context,
    ) -> AsyncIterator[pb.ChatEvent]:
        call = new_call(CURRENT.get(), request, stream=True, clock=self._clock)
        sequence = 0
        try:
            async with closing(self._handler(call)) as events:
                async for event in events:
                    sequence = event.sequence
                    yield event
        except GatewayError as error:
            if sequence:
                failed = failed_event(error)
                failed.attempts.extend(call.attempts)
                yield pb.ChatEvent(sequence=sequence + 1, failed=failed)
            raise
