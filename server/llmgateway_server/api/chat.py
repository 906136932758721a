"""The Chat service: native conversations, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from llmgateway.v1 import chat_service_pb2 as pb
from llmgateway.v1 import chat_service_pb2_grpc
from llmgateway_server.api.content import Operations
from llmgateway_server.api.rpc import CURRENT, REQUEST_ID, Rpc
from llmgateway_server.api.status import failed_event
from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.events import fold
from llmgateway_server.pipeline import Call, Handler
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.system import Clock

Context = grpc.aio.ServicerContext[Any, Any]


def new_call(rpc: Rpc, request: pb.ChatRequest, *, stream: bool, clock: Clock) -> Call:
    """The journey of a request that the guard let in."""
    if not request.request_id:
        request.request_id = rpc.request_id
    elif REQUEST_ID.fullmatch(request.request_id):
        rpc.request_id = request.request_id
    else:
        raise invalid_field("request_id", "must be at most 128 visible ASCII characters.")
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

    def __init__(self, handler: Handler, operations: Operations, clock: Clock) -> None:
        self._handler = handler
        self._operations = operations
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
        rpc = CURRENT.get()
        call = new_call(rpc, request, stream=True, clock=self._clock)
        sequence = 0

        def last_words(error: GatewayError) -> pb.ChatEvent:
            failed = failed_event(error)
            failed.attempts.extend(call.attempts)
            return pb.ChatEvent(sequence=sequence + 1, failed=failed)

        async with closing(self._handler(call)) as events:
            async for event in events:
                sequence = event.sequence
                rpc.last_words = None if event.HasField("finished") else last_words
                yield event

    async def EmbedContent(self, request: pb.EmbedContentRequest, context: Context) -> pb.EmbedContentResponse:
        return await self._operations.ask(request, pb.EmbedContentResponse)

    async def CountTokens(self, request: pb.CountTokensRequest, context: Context) -> pb.CountTokensResponse:
        return await self._operations.ask(request, pb.CountTokensResponse)
