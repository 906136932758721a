"""Puts an answer together as events: numbers its parts in order of appearance and merges adjacent deltas of one part.

Merging is per call of `take`, which a decoder makes once for each network read: one read, one delta a part. Under load
that is where the streaming throughput comes from, and without load it changes nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished, PartDelta
from llmgateway.v1.content_pb2 import Citation, Logprobs, Media, ProviderState


class Assembly:
    """The answer so far. Parts are told apart by keys of the decoder's choice; a part keeps the kind it began with."""

    def __init__(self) -> None:
        self._events: list[ChatEvent] = []
        self._indexes: dict[Hashable, int] = {}
        self._open: PartDelta | None = None
        self._open_key: Hashable = None
        self._open_kind = ""
        self._pieces: list[str] = []

    def take(self) -> list[ChatEvent]:
        """The events since the last call."""
        self._close()
        events, self._events = self._events, []
        return events

    def has(self, key: Hashable) -> bool:
        """Whether the part was begun."""
        return key in self._indexes

    @property
    def last_key(self) -> Hashable:
        """The key of the part that was begun last; None when there is no part."""
        return next(reversed(self._indexes), None)

    def start(self, response_id: str, upstream_model: str, created: int) -> None:
        """Adds `Started`. `created` is in seconds since the Unix epoch; zero means unknown."""
        event = ChatEvent()
        started = event.started
        started.response_id = response_id
        started.upstream_model = upstream_model
        if created > 0:
            started.create_time.seconds = created
        self._events.append(event)

    def finish(self, finished: Finished) -> None:
        """Adds `Finished`."""
        self._close()
        event = ChatEvent()
        event.finished.CopyFrom(finished)
        self._events.append(event)

    def text(self, text: str, key: Hashable = "text") -> None:
        """Adds text to a text part."""
        self._grow("text", key, text)

    def reasoning(self, text: str, key: Hashable = "reasoning") -> None:
        """Adds text to a reasoning part."""
        self._grow("reasoning", key, text)

    def refusal(self, text: str, key: Hashable = "refusal") -> None:
        """Adds text to a refusal."""
        self._grow("refusal", key, text)

    def tool_call(self, key: Hashable, call_id: str, name: str, *, custom: bool = False) -> None:
        """Begins a tool call."""
        delta = self._delta("tool_call", key)
        delta.tool_call.id = call_id
        delta.tool_call.name = name
        delta.tool_call.custom = custom

    def arguments(self, key: Hashable, text: str) -> None:
        """Adds to the arguments of a tool call that was begun."""
        self._grow("tool_call", key, text)

    def audio(self, media: Media, key: Hashable = "audio") -> None:
        """Adds to a sound."""
        delta = self._fresh("audio", key)
        delta.audio.CopyFrom(media)

    def image(self, media: Media, key: Hashable) -> None:
        """Adds a picture."""
        delta = self._fresh("image", key)
        delta.image.CopyFrom(media)

    def logprobs(self, logprobs: Logprobs, key: Hashable) -> None:
        """Adds log probabilities to the present delta of the part."""
        kind = "refusal" if logprobs.refusal else "text"
        delta = self._delta(kind, key)
        delta.logprobs.tokens.extend(logprobs.tokens)
        delta.logprobs.refusal = logprobs.refusal

    def citations(self, citations: list[Citation], key: Hashable = "text") -> None:
        """Adds sources to a text part."""
        self._delta("text", key).citations.extend(citations)

    def state(self, state: ProviderState, key: Hashable) -> None:
        """Sets the provider's state of a part that was begun."""
        kind = self._open_kind if key == self._open_key else ""
        self._delta(kind, key).provider_state.CopyFrom(state)

    def _grow(self, kind: str, key: Hashable, text: str) -> None:
        if self._open is None or key != self._open_key or kind != self._open_kind:
            self._delta(kind, key)
        self._pieces.append(text)

    def _delta(self, kind: str, key: Hashable) -> PartDelta:
        """The delta to write to: the open one when it is of this part, else a new one."""
        if self._open is not None and key == self._open_key and kind == self._open_kind:
            return self._open
        return self._fresh(kind, key)

    def _fresh(self, kind: str, key: Hashable) -> PartDelta:
        self._close()
        event = ChatEvent()
        self._open = event.part_delta
        self._open.part_index = self._indexes.setdefault(key, len(self._indexes))
        self._open_key, self._open_kind = key, kind
        self._events.append(event)
        return self._open

    def _close(self) -> None:
        delta = self._open
        if delta is None:
            return
        text = "".join(self._pieces)
        kind = self._open_kind
        if kind == "text":
            delta.text = text
        elif kind == "reasoning":
            delta.reasoning = text
        elif kind == "refusal":
            delta.refusal = text
        elif kind == "tool_call":
            delta.tool_call.arguments = text
        self._open = None
        self._pieces = []


def minted_call_id(request_id: str, response_id: str, number: int) -> str:
    """An id for a tool call that came without one: unique within the conversation, and the same for the same answer.

    `number` counts the calls of the answer from 0.
    """
    seed = f"{request_id}\n{response_id}\n{number}"
    return f"call_{blake2b(seed.encode(), digest_size=12).hexdigest()}"
