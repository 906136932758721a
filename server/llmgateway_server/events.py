"""Events and whole answers: fold the ones to the other and back.

The grammar is `Started PartDelta* (Finished | Failed)`. Every answer is a stream of events until the edge; a whole
answer is a fold over it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse, Finished, PartDelta, Started
from llmgateway.v1.content_pb2 import Logprobs, Media, Message, Part, Role, Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import Unavailable


def broken(message: str) -> Unavailable:
    """The error for a stream that does not keep to the grammar, or ends before it should."""
    return Unavailable(ErrorReason.ERROR_REASON_STREAM_BROKEN, message)


class Fold:
    """Adds up events to a whole answer. Feed it every event in order, then read `response`."""

    def __init__(self) -> None:
        self.done = False
        self._response = ChatResponse()
        self._started = False
        # Texts that grow, by the index of their part. Joining them at each delta would cost the square of their length.
        self._growing: dict[int, list[str]] = {}

    @property
    def response(self) -> ChatResponse:
        """The answer as far as it has come."""
        for index, pieces in self._growing.items():
            part = self._response.message.parts[index]
            kind = part.WhichOneof("content")
            if kind == "tool_call":
                part.tool_call.arguments += "".join(pieces)
            elif kind is not None:
                setattr(part, kind, getattr(part, kind) + "".join(pieces))
        self._growing.clear()
        return self._response

    def add(self, event: ChatEvent) -> None:
        """Takes the next event; raises `STREAM_BROKEN` if it cannot come here."""
        kind = event.WhichOneof("event")
        if self.done:
            raise broken(f"an event {kind!r} came after the last one.")
        if kind == "part_delta":
            if not self._started:
                raise broken("the answer did not begin with 'started'.")
            self._add_delta(event.part_delta)
        elif kind == "started":
            self._start(event.started)
        elif kind == "finished":
            self._finish(event.finished)
        else:
            raise broken(f"an event {kind!r} cannot be part of a whole answer.")

    def _start(self, started: Started) -> None:
        if self._started:
            raise broken("the answer began twice.")
        self._started = True
        response = self._response
        response.message.role = Role.ROLE_ASSISTANT
        response.response_id = started.response_id
        response.deployment = started.deployment
        response.provider = started.provider
        response.upstream_model = started.upstream_model
        response.model = started.model
        response.decision = started.decision
        response.request_id = started.request_id
        response.warnings.extend(started.warnings)
        if started.HasField("create_time"):
            response.create_time.CopyFrom(started.create_time)

    def _add_delta(self, delta: PartDelta) -> None:
        parts = self._response.message.parts
        index = delta.part_index
        if index == len(parts):
            parts.add()
        elif not 0 <= index < len(parts):
            raise broken(f"part {index} came before part {len(parts)}.")
        if text := _grow(parts[index], delta):
            self._growing.setdefault(index, []).append(text)
        if delta.HasField("logprobs"):
            add_logprobs(self._response, delta.logprobs)

    def _finish(self, finished: Finished) -> None:
        if not self._started:
            raise broken("the answer ended before it began.")
        self.done = True
        response = self._response
        response.finish_reason = finished.finish_reason
        response.raw_finish_reason = finished.raw_finish_reason
        response.service_tier = finished.service_tier
        response.system_fingerprint = finished.system_fingerprint
        response.attempts.extend(finished.attempts)
        if finished.HasField("usage"):
            response.usage.CopyFrom(finished.usage)
        if finished.HasField("cost_nanos"):
            response.cost_nanos = finished.cost_nanos


def _grow(part: Part, delta: PartDelta) -> str:
    """Adds a delta to the part it belongs to, all but the text, which it returns.

    Raises `STREAM_BROKEN` if the kinds differ.
    """
    kind = delta.WhichOneof("delta")
    have = part.WhichOneof("content")
    if kind is not None and have is not None and have != kind:
        raise broken(f"a delta of {kind!r} came for a part of {have!r}.")
    if delta.HasField("provider_state"):
        part.provider_state.CopyFrom(delta.provider_state)
    if delta.citations:
        part.citations.extend(delta.citations)
    if kind in ("text", "reasoning", "refusal"):
        if have is None:
            setattr(part, kind, "")
        return getattr(delta, kind)
    if kind == "tool_call":
        call, more = part.tool_call, delta.tool_call
        call.SetInParent()
        call.id = call.id or more.id
        call.name = call.name or more.name
        call.custom = call.custom or more.custom
        return more.arguments
    if kind == "audio":
        _grow_media(part.audio, delta.audio)
    elif kind is not None:
        part.image.MergeFrom(delta.image)
    return ""


def _grow_media(media: Media, more: Media) -> None:
    media.SetInParent()
    data = media.data + more.data
    transcript = media.transcript + more.transcript
    file_id = media.file_id or more.file_id
    media.MergeFrom(more)
    if data:
        media.data = data
    elif file_id:
        media.file_id = file_id
    media.transcript = transcript


def add_logprobs(response: ChatResponse, logprobs: Logprobs) -> None:
    """Joins log probabilities of the same kind into one run."""
    if response.logprobs and response.logprobs[-1].refusal == logprobs.refusal:
        response.logprobs[-1].tokens.extend(logprobs.tokens)
    else:
        response.logprobs.append(logprobs)


async def fold(events: AsyncIterator[ChatEvent]) -> ChatResponse:
    """Reads a stream to its end and returns the whole answer.

    Raises what the stream raises, and `STREAM_BROKEN` if it ends without its last event.
    """
    folding = Fold()
    async for event in events:
        folding.add(event)
    if not folding.done:
        raise broken("the answer ended without its last event; send the request again.")
    return folding.response


def spread(response: ChatResponse) -> Iterator[ChatEvent]:
    """The events of a whole answer: one delta a part. `fold` of them is the answer again."""
    started = Started(
        response_id=response.response_id,
        deployment=response.deployment,
        provider=response.provider,
        upstream_model=response.upstream_model,
        model=response.model,
        decision=response.decision,
        request_id=response.request_id,
        warnings=response.warnings,
    )
    if response.HasField("create_time"):
        started.create_time.CopyFrom(response.create_time)
    yield ChatEvent(sequence=1, started=started)
    sequence = 1
    for index, part in enumerate(response.message.parts):
        sequence += 1
        yield ChatEvent(sequence=sequence, part_delta=whole_delta(index, part))
    for logprobs in response.logprobs:
        sequence += 1
        last = max(len(response.message.parts) - 1, 0)
        yield ChatEvent(sequence=sequence, part_delta=PartDelta(part_index=last, logprobs=logprobs))
    finished = Finished(
        finish_reason=response.finish_reason,
        raw_finish_reason=response.raw_finish_reason,
        service_tier=response.service_tier,
        system_fingerprint=response.system_fingerprint,
        attempts=response.attempts,
    )
    if response.HasField("usage"):
        finished.usage.CopyFrom(response.usage)
    if response.HasField("cost_nanos"):
        finished.cost_nanos = response.cost_nanos
    yield ChatEvent(sequence=sequence + 1, finished=finished)


def whole_delta(index: int, part: Part) -> PartDelta:
    """One delta that says all of a part."""
    delta = PartDelta(part_index=index, citations=part.citations)
    kind = part.WhichOneof("content")
    if kind == "text":
        delta.text = part.text
    elif kind == "reasoning":
        delta.reasoning = part.reasoning
    elif kind == "refusal":
        delta.refusal = part.refusal
    elif kind == "tool_call":
        call = part.tool_call
        delta.tool_call.id = call.id
        delta.tool_call.name = call.name
        delta.tool_call.arguments = call.arguments
        delta.tool_call.custom = call.custom
    elif kind == "audio":
        delta.audio.CopyFrom(part.audio)
    elif kind == "image":
        delta.image.CopyFrom(part.image)
    elif kind is not None:
        raise broken(f"a part of {kind!r} cannot be part of an answer.")
    if part.HasField("provider_state"):
        delta.provider_state.CopyFrom(part.provider_state)
    return delta


def add_usage(usages: Iterable[Usage]) -> Usage:
    """The sum of usages; estimated if one of them is."""
    total = Usage()
    for usage in usages:
        for descriptor in Usage.DESCRIPTOR.fields:
            if descriptor.name != "estimated":
                summed = getattr(total, descriptor.name) + getattr(usage, descriptor.name)
                setattr(total, descriptor.name, summed)
        total.estimated = total.estimated or usage.estimated
    return total


def text_of(message: Message) -> str:
    """The text parts of a message, joined."""
    return "".join(part.text for part in message.parts if part.WhichOneof("content") == "text")


def carries_content(event: ChatEvent) -> bool:
    """Whether an event says something of the answer itself, so that it cannot be taken back."""
    return event.WhichOneof("event") in ("part_delta", "finished", "failed") and not _is_empty_delta(event)


def _is_empty_delta(event: ChatEvent) -> bool:
    return event.WhichOneof("event") == "part_delta" and event.part_delta.WhichOneof("delta") is None
