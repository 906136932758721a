"""The OpenAI service: its REST surface over the same pipeline as the native one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import grpc.aio
import orjson
from google.api.httpbody_pb2 import HttpBody

from llmgateway.compat.v1 import openai_service_pb2 as pb
from llmgateway.compat.v1 import openai_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway.v1.content_service_pb2 import SynthesizeSpeechResponse
from llmgateway.v1.model_service_pb2 import Model
from llmgateway_server.api.chat import new_call
from llmgateway_server.api.content import Operations
from llmgateway_server.api.openai import response
from llmgateway_server.api.openai.audio import SPEECH, TRANSCRIPTIONS, TRANSLATIONS
from llmgateway_server.api.openai.completions import LOSS, TextWriter, parse_completion, whole_completion
from llmgateway_server.api.openai.headers import AnswerHeaders
from llmgateway_server.api.openai.names import rename_field, rename_fields
from llmgateway_server.api.openai.operations import (
    EMBEDDINGS,
    IMAGES,
    JSON,
    MODERATIONS,
    RERANK,
    OperationBody,
    OperationDialect,
)
from llmgateway_server.api.openai.parallel import interleave, together
from llmgateway_server.api.openai.request import ChatBody, parse_chat
from llmgateway_server.api.rpc import CURRENT, Rpc
from llmgateway_server.api.status import openai_body
from llmgateway_server.errors import GatewayError, not_found
from llmgateway_server.events import add_usage, fold
from llmgateway_server.pipeline import Call, Handler
from llmgateway_server.pipeline.closing import closing, closing_operation
from llmgateway_server.ports.system import Clock
from llmgateway_server.principal import Principal
from llmgateway_server.routing.catalogue import Snapshot

Context = grpc.aio.ServicerContext[Any, Any]

EVENTS = "text/event-stream"


class OpenAIService(openai_service_pb2_grpc.OpenAIServiceServicer):
    """Reads OpenAI's JSON, runs the pipeline and answers in kind."""

    def __init__(
        self, handler: Handler, operations: Operations, snapshot: Callable[[], Snapshot], clock: Clock
    ) -> None:
        self._handler = handler
        self._operations = operations
        self._snapshot = snapshot
        self._clock = clock
        self._headers = AnswerHeaders(snapshot, clock)

    async def CreateChatCompletion(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        rpc = CURRENT.get()
        body = parse_chat(request.data)
        try:
            if rpc.metadata.get("x-gw-strict") == "true":
                body.request.strict = True
            async with aclosing(self._converse(rpc, [body], context, _CHAT)) as answers:
                async for answer in answers:
                    yield answer
        except GatewayError as error:
            rename_fields(error, body.places)
            raise

    async def CreateCompletion(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        rpc = CURRENT.get()
        bodies = parse_completion(request.data, strict=rpc.metadata.get("x-gw-strict") == "true")
        try:
            async with aclosing(self._converse(rpc, bodies, context, _COMPLETION)) as answers:
                async for answer in answers:
                    yield answer
        except GatewayError as error:
            rename_fields(error)
            raise

    async def CreateEmbedding(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(EMBEDDINGS, request, context)

    async def CreateModeration(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(MODERATIONS, request, context)

    async def CreateRerank(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(RERANK, request, context)

    async def CreateImage(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(IMAGES, request, context)

    async def CreateTranscription(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(TRANSCRIPTIONS, request, context)

    async def CreateTranslation(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        yield await self._operate(TRANSLATIONS, request, context)

    async def CreateSpeech(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        rpc = CURRENT.get()
        try:
            body = SPEECH.read(request)
            _obey_headers(rpc, body)
            call = self._operations.new_call(rpc, body.request, stream=True)
            begun = False
            async with closing_operation(self._operations.stream(call)) as answers:
                async for answer in answers:
                    if not isinstance(answer, SynthesizeSpeechResponse) or not answer.data:
                        continue
                    if not begun:
                        begun = True
                        headers = self._headers.of(rpc, [call], call.attempts[-1], unknown=body.unknown)
                        await context.send_initial_metadata(headers)
                    yield HttpBody(content_type=answer.mime_type, data=answer.data)
        except GatewayError as error:
            rename_field(error, SPEECH.name_of(error.field))
            raise

    async def _operate(self, dialect: OperationDialect, request: HttpBody, context: Context) -> HttpBody:
        """Answers an operation with one message."""
        rpc = CURRENT.get()
        try:
            body = dialect.read(request)
            _obey_headers(rpc, body)
            call = self._operations.new_call(rpc, body.request)
            answer = await self._operations.answer(call, body.answer)
        except GatewayError as error:
            rename_field(error, dialect.name_of(error.field))
            raise
        value = body.write(answer)
        data = value.encode() if isinstance(value, str) else orjson.dumps(value)
        await context.send_initial_metadata(self._headers.of(rpc, [call], answer.serving, unknown=body.unknown))
        return HttpBody(content_type=body.content_type, data=data)

    async def _converse(
        self, rpc: Rpc, bodies: Sequence[ChatBody], context: Context, shape: _Shape
    ) -> AsyncGenerator[HttpBody]:
        """The answers to conversations that were asked together, in one of the dialect's two shapes."""
        for body in bodies:
            body.request.session_id = rpc.metadata.get("x-session-id", "")
        if bodies[0].stream:
            async with aclosing(self._stream(rpc, bodies, context, shape)) as chunks:
                async for chunk in chunks:
                    yield HttpBody(content_type=EVENTS, data=chunk)
        else:
            yield HttpBody(content_type=JSON, data=await self._complete(rpc, bodies, context, shape))

    async def _complete(self, rpc: Rpc, bodies: Sequence[ChatBody], context: Context, shape: _Shape) -> bytes:
        calls = self._calls(rpc, bodies)
        answers = await together([self._answer(call) for call in calls])
        usage = answers[0].usage if len(answers) == 1 else add_usage(answer.usage for answer in answers)
        data = shape.whole(answers, answers[0].upstream_model, usage)
        headers = self._headers.of(rpc, calls, answers[0], unknown=bodies[0].unknown, notes=shape.notes)
        await context.send_initial_metadata(headers)
        return data

    async def _answer(self, call: Call) -> ChatResponse:
        async with closing(self._handler(call)) as events:
            return await fold(events)

    async def _stream(
        self, rpc: Rpc, bodies: Sequence[ChatBody], context: Context, shape: _Shape
    ) -> AsyncGenerator[bytes]:
        """The lines of a stream. What fails before the first raises; what fails later ends it with an error line."""
        calls = self._calls(rpc, bodies)
        stream = _Stream(shape.writer, include_usage=bodies[0].include_usage)
        async with aclosing(interleave([self._handler(call) for call in calls])) as events:
            async for index, event in events:
                if not stream.begun:
                    unknown = bodies[0].unknown
                    headers = self._headers.of(rpc, calls, event.started, unknown=unknown, notes=shape.notes)
                    await context.send_initial_metadata(headers)
                    rpc.last_words = _error_line
                line = stream.line(index, event)
                if line:
                    yield line
        yield stream.end()
        rpc.last_words = None

    def _calls(self, rpc: Rpc, bodies: Sequence[ChatBody]) -> list[Call]:
        """A call for each answer that is wanted, each with a request of its own."""
        requests: list[ChatRequest] = []
        for body in bodies:
            requests.append(body.request)
            for _ in range(1, body.answers):
                twin = ChatRequest()
                twin.CopyFrom(body.request)
                requests.append(twin)
        return [new_call(rpc, request, stream=bodies[0].stream, clock=self._clock) for request in requests]

    async def ListModels(
        self,
        request: pb.ListModelsRequest,
        context: Context,
    ) -> AsyncIterator[HttpBody]:
        principal = CURRENT.get().principal
        models = [_model_json(model) for model in self._snapshot().models.values() if _visible(model, principal)]
        models.sort(key=lambda model: model["id"])
        yield HttpBody(content_type=JSON, data=orjson.dumps({"object": "list", "data": models}))

    async def GetModel(
        self,
        request: pb.GetModelRequest,
        context: Context,
    ) -> AsyncIterator[HttpBody]:
        snapshot = self._snapshot()
        model = snapshot.models.get(snapshot.model_name(f"models/{request.model}"))
        if model is None or not _visible(model, CURRENT.get().principal):
            error = not_found(f"models/{request.model}")
            error.field = "model"
            raise error
        yield HttpBody(content_type=JSON, data=orjson.dumps(_model_json(model)))


def _obey_headers(rpc: Rpc, body: OperationBody) -> None:
    """Takes what a request says in headers over into it, where it has a place for it."""
    if rpc.metadata.get("x-gw-strict") == "true" and "strict" in body.request.DESCRIPTOR.fields_by_name:
        setattr(body.request, "strict", True)  # noqa: B010 - not every operation has the field


def _error_line(error: GatewayError) -> HttpBody:
    return HttpBody(content_type=EVENTS, data=response.error_line(openai_body(error)))


def _visible(model: Model, principal: Principal) -> bool:
    return model.status != Model.STATUS_RETIRED and principal.may_use(model.name)


def _model_json(model: Model) -> dict[str, Any]:
    return {
        "id": model.name.removeprefix("models/"),
        "object": "model",
        "created": model.create_time.seconds,
        "owned_by": model.owner or "llm-gateway",
    }


class _Writer(Protocol):
    """Writes the chunks of one choice of a stream. `response.ChunkWriter` says what each method is for."""

    def delta(self, delta: PartDelta) -> bytes: ...

    def finish(self, reason: FinishReason) -> bytes: ...

    def usage(self, usage: Usage) -> bytes: ...


class _NewWriter(Protocol):
    def __call__(self, started: Started, index: int, model: str, *, include_usage: bool) -> _Writer: ...


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the dialect shows an answer."""

    whole: Callable[[Sequence[ChatResponse], str, Usage], bytes]
    writer: _NewWriter
    notes: tuple[str, ...] = ()
    """Warnings that go with every answer of this shape."""


_CHAT = _Shape(response.whole, response.ChunkWriter)
_COMPLETION = _Shape(whole_completion, TextWriter, notes=(LOSS,))


@dataclass(slots=True)
class _Choice:
    writer: _Writer
    usage: Usage
    done: bool = False


class _Stream:
    """The state of a stream: one choice an answer, ended once all are."""

    def __init__(self, new_writer: _NewWriter, *, include_usage: bool) -> None:
        self._new_writer = new_writer
        self._include_usage = include_usage
        self._choices: dict[int, _Choice] = {}
        self._first: Started | None = None

    @property
    def begun(self) -> bool:
        """Whether an answer has begun, so that the response has too."""
        return self._first is not None

    def line(self, index: int, event: ChatEvent) -> bytes:
        """The line for an event; empty when it says nothing in this dialect."""
        kind = event.WhichOneof("event")
        if kind == "started":
            # Every choice shows the first one's id, time and model: they are one completion to the caller.
            self._first = self._first or event.started
            writer = self._new_writer(self._first, index, self._first.upstream_model, include_usage=self._include_usage)
            self._choices[index] = _Choice(writer, Usage())
            return b""
        choice = self._choices[index]
        if kind == "part_delta":
            return choice.writer.delta(event.part_delta)
        choice.usage.CopyFrom(event.finished.usage)
        return choice.writer.finish(event.finished.finish_reason)

    def end(self) -> bytes:
        """The lines after the last choice."""
        if not self._include_usage:
            return response.DONE
        usages = [choice.usage for choice in self._choices.values()]
        usage = usages[0] if len(usages) == 1 else add_usage(usages)
        return self._choices[0].writer.usage(usage) + response.DONE
