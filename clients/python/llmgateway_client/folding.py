"""Adds up the events of a streamed answer to the whole answer.

The grammar is `Started PartDelta* (Finished | Failed)`, numbered from 1 without gaps. Pieces are kept apart until
the end: to join them as they come would copy a long answer once for every piece.
"""

from dataclasses import dataclass, field

import betterproto2

from llmgateway_client.errors import broken
from llmgateway_client.generated.llmgateway import v1

_TEXTS = frozenset({"text", "refusal", "reasoning"})


class Fold:
    """The answer so far. Feed it every event in order; when `done`, `response` gives the whole answer."""

    def __init__(self) -> None:
        self.done = False
        """Whether the last event has come, `Finished` or `Failed`."""
        self.failed: v1.Failed | None = None
        """The last event, if it says that the answer broke off."""
        self._sequence = 0
        self._started: v1.Started | None = None
        self._parts: list[_Part] = []
        self._logprobs: list[v1.Logprobs] = []
        self._finished: v1.Finished | None = None

    def add(self, event: v1.ChatEvent) -> None:
        """Takes the next event; raises `Unavailable` with the reason `STREAM_BROKEN` if it cannot come here."""
        self._sequence += 1
        if event.sequence != self._sequence:
            raise broken(f"event {self._sequence} was expected and event {event.sequence} came.")
        if self.done:
            raise broken("an event came after the last one.")
        if event.started is not None:
            if self._started is not None:
                raise broken("the answer began twice.")
            self._started = event.started
        elif event.failed is not None:
            self.failed, self.done = event.failed, True
        elif self._started is None:
            raise broken("the answer did not begin with 'started'.")
        elif event.part_delta is not None:
            self._grow(event.part_delta)
        elif event.finished is not None:
            self._finished, self.done = event.finished, True
        # An event of a kind that is newer than this client says nothing to it.

    def response(self) -> v1.ChatResponse:
        """The whole answer; raises `Unavailable` with the reason `STREAM_BROKEN` before its last event."""
        started, finished = self._started, self._finished
        if started is None or finished is None:
            raise broken("the answer ended without its last event; send the request again.")
        return v1.ChatResponse(
            response_id=started.response_id,
            message=v1.Message(role=v1.Role.ASSISTANT, parts=[part.whole() for part in self._parts]),
            finish_reason=finished.finish_reason,
            raw_finish_reason=finished.raw_finish_reason,
            usage=finished.usage,
            deployment=started.deployment,
            provider=started.provider,
            upstream_model=started.upstream_model,
            attempts=finished.attempts,
            cost_nanos=finished.cost_nanos,
            warnings=started.warnings,
            logprobs=self._logprobs,
            create_time=started.create_time,
            model=started.model,
            decision=started.decision,
            service_tier=finished.service_tier,
            system_fingerprint=finished.system_fingerprint,
            request_id=started.request_id,
        )

    def _grow(self, delta: v1.PartDelta) -> None:
        index = delta.part_index
        if index == len(self._parts):
            self._parts.append(_Part())
        elif not 0 <= index < len(self._parts):
            raise broken(f"part {index} came before part {len(self._parts)}.")
        self._parts[index].grow(delta)
        if delta.logprobs is not None:
            self._add_logprobs(delta.logprobs)

    def _add_logprobs(self, logprobs: v1.Logprobs) -> None:
        """Joins log probabilities of the same kind into one run."""
        if self._logprobs and self._logprobs[-1].refusal == logprobs.refusal:
            self._logprobs[-1].tokens.extend(logprobs.tokens)
        else:
            self._logprobs.append(logprobs)


@dataclass(slots=True)
class _Part:
    """One part of the answer, in pieces."""

    kind: str = ""
    texts: list[str] = field(default_factory=list[str])
    data: list[bytes] = field(default_factory=list[bytes])
    call: v1.ToolCall = field(default_factory=v1.ToolCall)
    media: v1.Media = field(default_factory=v1.Media)
    provider_state: v1.ProviderState | None = None
    citations: list[v1.Citation] = field(default_factory=list[v1.Citation])

    def grow(self, delta: v1.PartDelta) -> None:
        """Adds a delta; raises `STREAM_BROKEN` if it is of another kind than the part."""
        kind, value = betterproto2.which_one_of(delta, "delta")
        if kind and self.kind and kind != self.kind:
            raise broken(f"a delta of {kind!r} came for a part of {self.kind!r}.")
        self.kind = self.kind or kind
        match value:
            case str():
                self.texts.append(value)
            case v1.ToolCallDelta():
                self._grow_call(value)
            case v1.Media():
                self._grow_media(value)
            case _:
                pass
        if delta.provider_state is not None:  # a message without content is false, and counts
            self.provider_state = delta.provider_state
        self.citations.extend(delta.citations)

    def whole(self) -> v1.Part:
        """The part, its pieces joined."""
        part = v1.Part(provider_state=self.provider_state, citations=self.citations)
        text = "".join(self.texts)
        if self.kind in _TEXTS:
            setattr(part, self.kind, text)
        elif self.kind == "tool_call":
            self.call.arguments = text
            part.tool_call = self.call
        elif self.kind:
            self.media.transcript = text
            self.media.data = b"".join(self.data) or self.media.data
            setattr(part, self.kind, self.media)
        return part

    def _grow_call(self, more: v1.ToolCallDelta) -> None:
        call = self.call
        call.id = call.id or more.id
        call.name = call.name or more.name
        call.custom = call.custom or more.custom
        self.texts.append(more.arguments)

    def _grow_media(self, more: v1.Media) -> None:
        """Appends data and transcript; what else the piece says replaces what was said before."""
        media = self.media
        if more.data is not None:
            self.data.append(more.data)
        self.texts.append(more.transcript)
        media.url = more.url or media.url
        media.file_id = more.file_id or media.file_id
        media.mime_type = more.mime_type or media.mime_type
        media.filename = more.filename or media.filename
        media.detail = more.detail or media.detail
        media.expires_at = more.expires_at or media.expires_at
