"""Providers' state on OpenAI's surface: what callers send back so that a conversation with thinking and tools goes on.

The dialect has no place for thinking signatures, so an assistant message gets one more field, `provider_state`: a list
with an entry for each part that has state. Callers who send the message back as they got it need not look inside; in a
stream the list comes with the last chunk of the choice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from llmgateway.v1.chat_service_pb2 import PartDelta
from llmgateway.v1.content_pb2 import Message, Part
from llmgateway_server.api.openai import fields
from llmgateway_server.errors import invalid_field

Json = dict[str, Any]
"""A JSON object. `Any`: a JSON value."""

FIELD = "provider_state"
_KINDS = ("reasoning", "text", "tool_call", "none")


def entries(parts: Sequence[Part]) -> list[Json]:
    """The entries of a whole message; none when no part has state."""
    return [
        _entry(place, part.WhichOneof("content"), part.reasoning, part.tool_call.id, part)
        for place, part in enumerate(parts)
        if part.HasField("provider_state")
    ]


def _entry(place: int, kind: str | None, reasoning: str, call_id: str, owner: Part | PartDelta) -> Json:
    entry: Json = {
        "part": place,
        "kind": kind if kind in _KINDS else "none",
        "wire_format": owner.provider_state.wire_format,
        "data": base64.b64encode(owner.provider_state.data).decode(),
    }
    if kind == "reasoning":
        entry["reasoning"] = reasoning
    elif kind == "tool_call":
        entry["call_id"] = call_id
    return entry


class Gathering:
    """The entries of a streamed message, gathered as it comes."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._reasoning: dict[int, list[str]] = {}
        self._call_ids: dict[int, str] = {}
        self._states: dict[int, PartDelta] = {}

    def add(self, delta: PartDelta) -> None:
        """Takes the next delta."""
        place = delta.part_index
        kind = delta.WhichOneof("delta")
        if kind is not None:
            self._kinds.setdefault(place, kind)
        if kind == "reasoning":
            self._reasoning.setdefault(place, []).append(delta.reasoning)
        elif kind == "tool_call" and delta.tool_call.id:
            self._call_ids[place] = delta.tool_call.id
        if delta.HasField("provider_state"):
            self._states[place] = delta

    def entries(self) -> list[Json]:
        """The entries so far."""
        return [
            _entry(
                place,
                self._kinds.get(place),
                "".join(self._reasoning.get(place, ())),
                self._call_ids.get(place, ""),
                delta,
            )
            for place, delta in sorted(self._states.items())
        ]


def restore(message: Message, where: str, body: Json) -> None:
    """Gives the parts of an assistant message their state back, and puts back the parts that the dialect lacks.

    Raises INVALID_FIELD for an entry that is not as it was sent.
    """
    for place, entry in fields.objects(fields.array(body, FIELD, f"{where}.") or [], f"{where}.{FIELD}"):
        kind = fields.required_text(entry, "kind", f"{place}.")
        if kind not in _KINDS:
            raise invalid_field(f"{place}.kind", f"must be one of {', '.join(_KINDS)}; got {kind!r}.")
        part = _part_of(message, kind, place, entry)
        part.provider_state.wire_format = fields.required_text(entry, "wire_format", f"{place}.")
        try:
            part.provider_state.data = base64.b64decode(fields.text(entry, "data", f"{place}."), validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid_field(f"{place}.data", "is not valid base64; send the message back as it came.") from error


def _part_of(message: Message, kind: str, place: str, entry: Json) -> Part:
    """The part that an entry belongs to: one that is there, or one of thinking that is put in where it was."""
    if kind == "tool_call":
        call_id = fields.required_text(entry, "call_id", f"{place}.")
        for part in message.parts:
            if part.tool_call.id == call_id and part.WhichOneof("content") == "tool_call":
                return part
        raise invalid_field(f"{place}.call_id", f"{call_id!r} is no tool call of this message.")
    if kind == "text":
        for part in message.parts:
            if part.WhichOneof("content") == "text":
                return part
    at = min(fields.integer(entry, "part", f"{place}.", low=0, high=2**31 - 1) or 0, len(message.parts))
    new = Part(reasoning=fields.text(entry, "reasoning", f"{place}.")) if kind == "reasoning" else Part()
    message.parts.insert(at, new)
    return message.parts[at]
