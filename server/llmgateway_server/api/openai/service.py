"""The OpenAI service: its REST surface over the same pipeline as the native one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc.aio
import orjson
from google.api.httpbody_pb2 import HttpBody

from llmgateway.compat.v1 import openai_service_pb2 as pb
from llmgateway.compat.v1 import openai_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse, Started
from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.model_service_pb2 import Model
from llmgateway_server.api.chat import new_call
from llmgateway_server.api.openai import response
from llmgateway_server.api.openai.names import rename_fields
from llmgateway_server.api.openai.parallel import interleave, together
from llmgateway_server.api.openai.request import ChatBody, parse_chat
from llmgateway_server.api.rpc import CURRENT, Rpc
from llmgateway_server.api.status import ascii_json, openai_body
from llmgateway_server.errors import GatewayError, not_found
from llmgateway_server.events import add_usage, fold
from llmgateway_server.pipeline import Call, Handler
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.system import Clock
from llmgateway_server.principal import Principal
from llmgateway_server.routing.catalogue import Snapshot

Context = grpc.aio.ServicerContext[Any, Any]

JSON = "application/json"
EVENTS = "text/event-stream"
DIALECT = "openai"
_PLAIN = "/:@.,+ "
"""Characters of a model's id that a header shows as they are, besides letters and digits."""
_MAX_NAME = 80
_MAX_WARNINGS = 2_048
"""Most characters of all warnings in a header. What goes beyond is counted."""


class OpenAIService(openai_service_pb2_grpc.OpenAIServiceServicer):
    """Reads OpenAI's JSON, runs the pipeline and answers in kind."""

    def __init__(self, handler: Handler, snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._handler = handler
        self._snapshot = snapshot
        self._clock = clock

    async def CreateChatCompletion(self, request: HttpBody, context: Context) -> AsyncIterator[HttpBody]:
        rpc = CURRENT.get()
        body = parse_chat(request.data)
        try:
            if rpc.metadata.get("x-gw-strict") == "true":
                body.request.strict = True
            body.request.session_id = rpc.metadata.get("x-session-id", "")
            if body.stream:
                async with aclosing(self._stream(rpc, body, context)) as chunks:
                    async for chunk in chunks:
                        yield HttpBody(content_type=EVENTS, data=chunk)
            else:
                yield HttpBody(content_type=JSON, data=await self._complete(rpc, body, context))
        except GatewayError as error:
            rename_fields(error, body.places)
            raise

    async def _complete(self, rpc: Rpc, body: ChatBody, context: Context) -> bytes:
        calls = self._calls(rpc, body)
        answers = await together([self._answer(call) for call in calls])
        usage = answers[0].usage if len(answers) == 1 else add_usage(answer.usage for answer in answers)
        data = response.whole(answers, answers[0].upstream_model, usage)
        await context.send_initial_metadata(self._headers(rpc, body, calls, answers[0]))
        return data

    async def _answer(self, call: Call) -> ChatResponse:
        async with closing(self._handler(call)) as events:
            return await fold(events)

    async def _stream(self, rpc: Rpc, body: ChatBody, context: Context) -> AsyncGenerator[bytes]:
        """The lines of a stream. What fails before the first raises; what fails later ends it with an error line."""
        calls = self._calls(rpc, body)
        stream = _Stream(body)
        async with aclosing(interleave([self._handler(call) for call in calls])) as events:
            async for index, event in events:
                if not stream.begun:
                    await context.send_initial_metadata(self._headers(rpc, body, calls, event.started))
                    rpc.last_words = _error_line
                line = stream.line(index, event)
                if line:
                    yield line
        yield stream.end()
        rpc.last_words = None

    def _calls(self, rpc: Rpc, body: ChatBody) -> list[Call]:
        """A call for each answer that is wanted, each with a request of its own."""
        requests = [body.request]
        for _ in range(1, body.answers):
            twin = ChatRequest()
            twin.CopyFrom(body.request)
            requests.append(twin)
        return [new_call(rpc, request, stream=body.stream, clock=self._clock) for request in requests]

    def _headers(
        self, rpc: Rpc, body: ChatBody, calls: Sequence[Call], answer: Started | ChatResponse
    ) -> tuple[tuple[str, str], ...]:
        """What an answer says of how it came about. Sent with its first message, never before."""
        snapshot = self._snapshot()
        deployment = snapshot.deployments.get(answer.deployment)
        provider_id = answer.provider.removeprefix("providers/")
        served = deployment.model.removeprefix("models/") if deployment else f"{provider_id}/{answer.upstream_model}"
        spent = self._clock.monotonic() - rpc.started - max(call.upstream_seconds for call in calls)
        headers = [
            ("x-request-id", rpc.request_id),
            ("x-gw-served-model", quote(served, safe=_PLAIN)),
            ("x-gw-served-provider", provider_id),
            ("x-gw-attempts", str(sum(len(call.attempts) for call in calls))),
            ("x-gw-overhead-ms", f"{max(spent, 0.0) * 1000:.3f}"),
        ]
        warnings = [f"{warning.field}: {warning.message}" for warning in answer.warnings]
        provider = snapshot.providers.get(answer.provider)
        if provider is not None and provider.wire_format != DIALECT:
            left_out = f"{provider_id!r} does not know this field; it was left out."
            warnings += [f"{name[:_MAX_NAME]}: {left_out}" for name in body.unknown]
        if warnings:
            headers.append(("x-gw-warnings", _header_of(warnings)))
        return tuple(headers)

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


def _header_of(warnings: Sequence[str]) -> str:
    """As many warnings as a header may hold, as JSON."""
    shown: list[str] = []
    room = _MAX_WARNINGS
    for warning in warnings:
        room -= len(ascii_json([warning]))
        if room < 0:
            shown.append(f"and {len(warnings) - len(shown)} more")
            break
        shown.append(warning)
    return ascii_json(shown)


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


@dataclass(slots=True)
class _Choice:
    writer: response.ChunkWriter
    usage: Usage
    done: bool = False


class _Stream:
    """The state of a stream: one choice an answer, ended once all are."""

    def __init__(self, body: ChatBody) -> None:
        self._include_usage = body.include_usage
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
            writer = response.ChunkWriter(
                self._first, index, self._first.upstream_model, include_usage=self._include_usage
            )
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
