"""The operations that are not conversations, over gRPC and REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar, cast

import grpc.aio

from llmgateway.v1 import content_service_pb2 as pb
from llmgateway.v1 import content_service_pb2_grpc
from llmgateway_server.api.rpc import CURRENT, Rpc
from llmgateway_server.events import broken
from llmgateway_server.pipeline.call import Call, OperationHandler
from llmgateway_server.pipeline.closing import closing_operation
from llmgateway_server.ports.operations import OperationRequest, OperationResponse
from llmgateway_server.ports.system import Clock

Context = grpc.aio.ServicerContext[Any, Any]
ResponseT = TypeVar("ResponseT", bound=OperationResponse)


class Operations:
    """Runs operations through the pipeline, for whichever surface asks."""

    def __init__(self, handler: OperationHandler, clock: Clock) -> None:
        self._handler = handler
        self._clock = clock

    def new_call(self, rpc: Rpc, request: OperationRequest, *, stream: bool = False) -> Call[OperationRequest]:
        """The journey of a request that the guard let in."""
        return Call(
            request=request,
            principal=rpc.principal,
            request_id=rpc.request_id,
            method=rpc.method,
            stream=stream,
            started=rpc.started,
            create_time=self._clock.now(),
            deadline=rpc.deadline,
        )

    async def ask(self, request: OperationRequest, kind: type[ResponseT]) -> ResponseT:
        """Answers the request of the running task with the one message that comes of it. `kind` is its type."""
        return await self.answer(self.new_call(CURRENT.get(), request), kind)

    async def answer(self, call: Call[OperationRequest], kind: type[ResponseT]) -> ResponseT:
        """The one message that answers a call. `kind` is its type."""
        async with closing_operation(self._handler(call)) as answers:
            async for answer in answers:
                if not isinstance(answer, kind):
                    raise broken(f"an answer of {type(answer).__name__!r} came for a request of {kind.__name__!r}.")
                return answer
        raise broken("the answer ended before it began.")

    def stream(self, call: Call[OperationRequest]) -> AsyncIterator[OperationResponse]:
        """The messages that answer a call. Whoever opens the iterator closes it."""
        return self._handler(call)


class ContentService(content_service_pb2_grpc.ContentServiceServicer):
    """Answers with what comes out of the pipeline."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def RerankDocuments(self, request: pb.RerankDocumentsRequest, context: Context) -> pb.RerankDocumentsResponse:
        return await self._operations.ask(request, pb.RerankDocumentsResponse)

    async def TranscribeAudio(self, request: pb.TranscribeAudioRequest, context: Context) -> pb.TranscribeAudioResponse:
        return await self._operations.ask(request, pb.TranscribeAudioResponse)

    async def SynthesizeSpeech(
        self, request: pb.SynthesizeSpeechRequest, context: Context
    ) -> AsyncIterator[pb.SynthesizeSpeechResponse]:
        call = self._operations.new_call(CURRENT.get(), request, stream=True)
        async with closing_operation(self._operations.stream(call)) as answers:
            async for answer in answers:
                yield cast("pb.SynthesizeSpeechResponse", answer)

    async def GenerateImages(self, request: pb.GenerateImagesRequest, context: Context) -> pb.GenerateImagesResponse:
        return await self._operations.ask(request, pb.GenerateImagesResponse)

    async def ModerateContent(self, request: pb.ModerateContentRequest, context: Context) -> pb.ModerateContentResponse:
        return await self._operations.ask(request, pb.ModerateContentResponse)
