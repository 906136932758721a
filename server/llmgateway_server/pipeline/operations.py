"""The pipeline of what is not a conversation: the same stages in the same order, around one request and its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from llmgateway.v1.chat_service_pb2 import CountTokensRequest, EmbedContentRequest, Serving
from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    ModerateContentRequest,
    RerankDocumentsRequest,
    SynthesizeSpeechRequest,
    TranscribeAudioRequest,
)
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.events import broken
from llmgateway_server.pipeline.attempts import (
    Attempts,
    falls_back,
    merged_timeouts,
    most_attempts,
    tell_attempts,
    too_late,
    total_cost,
)
from llmgateway_server.pipeline.authorize import check_allowed
from llmgateway_server.pipeline.call import Call, OperationHandler
from llmgateway_server.pipeline.closing import closing_operation
from llmgateway_server.pipeline.meter import Meter
from llmgateway_server.pipeline.validate import check_common, check_media, check_messages, check_tools
from llmgateway_server.ports.operations import OperationAdapter, OperationCall, OperationRequest, OperationResponse
from llmgateway_server.ports.provider import Endpoint, Timeouts
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.routing.catalogue import Served
from llmgateway_server.routing.planner import Plan, Planner

MAX_TEXTS = 2_048
MAX_DOCUMENTS = 10_000
MAX_MODERATED = 1_000
MAX_IMAGES = 10
MAX_SPOKEN = 32_768
"""Most characters of a text to be spoken. Providers take 4,096 or so; sound takes far more room than text."""
MAX_SPEED, MIN_SPEED = 4.0, 0.25
TRANSCRIPT_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
SPEECH_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


class OperationDispatch:
    """Sends an operation to the candidates of its plan, one after the other, until one answers."""

    def __init__(
        self,
        planner: Planner,
        adapter: Callable[[Endpoint], OperationAdapter],
        *,
        clock: Clock,
        ids: Ids,
        timeouts: Timeouts,
    ) -> None:
        self._planner = planner
        self._adapter = adapter
        self._clock = clock
        self._attempts = Attempts(clock, ids)
        self._timeouts = timeouts

    async def __call__(self, call: Call[OperationRequest]) -> AsyncIterator[OperationResponse]:
        plan = self._planner.plan(call.request)
        timeouts = merged_timeouts(plan.timeouts, self._timeouts)
        failure: GatewayError | None = None
        for served in plan.candidates[: most_attempts(plan.retry_policy)]:
            if self._clock.monotonic() >= call.deadline:
                break
            committed = False
            try:
                async with closing_operation(self._attempt(call, plan, served, timeouts)) as answers:
                    async for answer in answers:
                        committed = True
                        yield answer
            except GatewayError as error:
                if committed or not falls_back(error, plan.retry_policy):
                    tell_attempts(error, call)
                    raise
                failure = error
            else:
                return
        if failure is None:
            raise too_late()
        tell_attempts(failure, call)
        raise failure

    async def _attempt(
        self, call: Call[OperationRequest], plan: Plan, served: Served, timeouts: Timeouts
    ) -> AsyncIterator[OperationResponse]:
        """One try. Yields the whole answer or raises, and leaves its `Attempt` with the call in either case."""
        trying = self._attempts.begin(call, served)
        operation = OperationCall(
            request=call.request,
            endpoint=trying.endpoint,
            deadline=min(call.deadline, trying.started + timeouts.total),
            timeouts=timeouts,
            request_id=call.request_id,
            stream=call.stream,
        )
        done = False
        mark = self._clock.monotonic()
        try:
            async with closing_operation(self._adapter(trying.endpoint).run(operation)) as answers:
                async for answer in answers:
                    call.upstream_seconds += self._clock.monotonic() - mark
                    if not trying.attempt.HasField("first_event_latency"):
                        self._attempts.note_first_event(trying)
                    if answer.HasField("serving"):
                        done = True
                        self._attempts.succeed(trying, _usage(answer))
                        _tell(answer.serving, call, plan, trying.endpoint)
                    yield answer
                    mark = self._clock.monotonic()
            if not done:
                raise broken("the provider's answer ended without its last message.")
        except GatewayError as error:
            call.upstream_seconds += self._clock.monotonic() - mark
            self._attempts.fail(trying, error.reason)
            raise
        except Exception:
            self._attempts.fail(trying, ErrorReason.ERROR_REASON_INTERNAL)
            raise
        finally:
            self._attempts.end(trying)


def build_operations(meter: Meter, dispatch: OperationHandler) -> OperationHandler:
    """Folds the stages of `pipeline.STAGES` around the dispatch of operations."""

    def checked(call: Call[OperationRequest]) -> AsyncIterator[OperationResponse]:
        check_allowed(call)
        CHECKS[type(call.request)](call.request)
        return dispatch(call)

    def handler(call: Call[OperationRequest]) -> AsyncIterator[OperationResponse]:
        return meter.operation(call, checked)

    return handler


def _usage(answer: OperationResponse) -> Usage:
    """The tokens that an answer used. Counting and judging use none that anybody bills."""
    return getattr(answer, "usage", Usage())


def _tell(serving: Serving, call: Call[OperationRequest], plan: Plan, endpoint: Endpoint) -> None:
    """Completes an answer by what only the gateway knows."""
    serving.request_id = call.request_id
    serving.deployment = endpoint.deployment
    serving.provider = endpoint.provider
    serving.upstream_model = serving.upstream_model or endpoint.upstream_model
    serving.attempts.extend(call.attempts)
    serving.warnings.extend(plan.warnings)
    cost = total_cost(call)
    if cost is not None:
        serving.cost_nanos = cost


_MAX_DIMENSIONS = 16_384
"""More than any model has. A vector takes memory in proportion."""


def _check_embedding(request: EmbedContentRequest) -> None:
    check_common(request)
    if not request.texts:
        raise invalid_field("texts", "send at least one text.")
    if len(request.texts) > MAX_TEXTS:
        raise invalid_field("texts", f"at most {MAX_TEXTS} texts; got {len(request.texts)}.")
    for index, text in enumerate(request.texts):
        if not text:
            raise invalid_field(f"texts[{index}]", "must not be empty.")
    if request.HasField("dimensions") and not 1 <= request.dimensions <= _MAX_DIMENSIONS:
        raise invalid_field("dimensions", f"must be from 1 to {_MAX_DIMENSIONS}; got {request.dimensions}.")


def _check_count(request: CountTokensRequest) -> None:
    check_messages(request.messages)
    check_tools(request.tools)


def _check_rerank(request: RerankDocumentsRequest) -> None:
    check_common(request)
    if not request.query:
        raise invalid_field("query", "is required.")
    if not 1 <= len(request.documents) <= MAX_DOCUMENTS:
        raise invalid_field("documents", f"send 1 to {MAX_DOCUMENTS} documents; got {len(request.documents)}.")
    for index, document in enumerate(request.documents):
        if not document:
            raise invalid_field(f"documents[{index}]", "must not be empty.")
    for field in ("top_n", "max_tokens_per_document"):
        if request.HasField(field) and getattr(request, field) < 1:
            raise invalid_field(field, f"must be 1 or more; got {getattr(request, field)}.")


def _check_transcription(request: TranscribeAudioRequest) -> None:
    check_common(request)
    check_media("audio", request.audio)
    if request.audio.WhichOneof("source") != "data" or not request.audio.data:
        raise invalid_field("audio.data", "send the sound itself.")
    if request.format and request.format not in TRANSCRIPT_FORMATS:
        raise invalid_field("format", f"must be one of {', '.join(TRANSCRIPT_FORMATS)}; got {request.format!r}.")
    if request.HasField("temperature") and not 0 <= request.temperature <= 1:
        raise invalid_field("temperature", f"must be from 0 to 1; got {request.temperature}.")
    for index, granularity in enumerate(request.timestamp_granularities):
        if granularity not in ("word", "segment"):
            raise invalid_field(f"timestamp_granularities[{index}]", f"must be word or segment; got {granularity!r}.")
    if request.timestamp_granularities and request.format != "verbose_json":
        raise invalid_field("timestamp_granularities", "needs the format verbose_json.")


def _check_speech(request: SynthesizeSpeechRequest) -> None:
    check_common(request)
    for field in ("text", "voice"):
        if not getattr(request, field):
            raise invalid_field(field, "is required.")
    if len(request.text) > MAX_SPOKEN:
        raise invalid_field("text", f"at most {MAX_SPOKEN} characters; got {len(request.text)}.")
    if request.format and request.format not in SPEECH_FORMATS:
        raise invalid_field("format", f"must be one of {', '.join(SPEECH_FORMATS)}; got {request.format!r}.")
    if request.HasField("speed") and not MIN_SPEED <= request.speed <= MAX_SPEED:
        raise invalid_field("speed", f"must be from {MIN_SPEED} to {MAX_SPEED}; got {request.speed}.")


def _check_images(request: GenerateImagesRequest) -> None:
    check_common(request)
    if not request.prompt:
        raise invalid_field("prompt", "is required.")
    if request.HasField("count") and not 1 <= request.count <= MAX_IMAGES:
        raise invalid_field("count", f"must be from 1 to {MAX_IMAGES}; got {request.count}.")


def _check_moderation(request: ModerateContentRequest) -> None:
    check_common(request)
    if not 1 <= len(request.parts) <= MAX_MODERATED:
        raise invalid_field("parts", f"send 1 to {MAX_MODERATED} parts; got {len(request.parts)}.")
    for index, part in enumerate(request.parts):
        kind = part.WhichOneof("content")
        if kind == "image":
            check_media(f"parts[{index}].image", part.image)
        elif kind != "text":
            raise invalid_field(f"parts[{index}]", f"must be text or an image; got {kind!r}.")


CHECKS: Mapping[type, Callable[[Any], None]] = {
    EmbedContentRequest: _check_embedding,
    CountTokensRequest: _check_count,
    RerankDocumentsRequest: _check_rerank,
    TranscribeAudioRequest: _check_transcription,
    SynthesizeSpeechRequest: _check_speech,
    GenerateImagesRequest: _check_images,
    ModerateContentRequest: _check_moderation,
}
"""What a request must be, by its type. `Any`: a request of that type."""
