"""What a part of a Gemini answer carries beside its content, kept as the part's state from one turn to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from llmgateway.v1.content_pb2 import Part, ProviderState
from llmgateway_server.errors import invalid_field
from llmgateway_server.providers.json_values import UNREADABLE, Json, details_of, json_object

WIRE_FORMAT = "gemini"
"""The name of the wire format, in `provider_options` and in provider states."""

_REPLAYED = frozenset(
    {
        "thought",
        "thoughtSignature",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    }
)
"""Fields of a part that are sent back. Others are kept for the caller alone, and content must be sent as content."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of one part."""

    part: Json = field(default_factory=dict[str, object])
    """Fields of the part, such as its signature, exactly as they came."""
    call_id: str = ""
    """The id that the provider itself gave to the part's call."""
    answer: Json = field(default_factory=dict[str, object])
    """Fields of the answer as a whole, such as what it was grounded on. For the caller alone."""

    def __bool__(self) -> bool:
        return bool(self.part or self.call_id or self.answer)


def write_state(state: State) -> ProviderState:
    """The state as a message."""
    data = orjson.dumps({"part": state.part, "call_id": state.call_id, "answer": state.answer})
    return ProviderState(wire_format=WIRE_FORMAT, data=data)


def read_state(part: Part, where: str) -> State:
    """What is to be sent back with a part: nothing, if its state is another wire format's.

    Raises INVALID_FIELD for a state that `write_state` did not write. `where` names the part.
    """
    if not part.HasField("provider_state") or part.provider_state.wire_format != WIRE_FORMAT:
        return State()
    try:
        fields = json_object(orjson.loads(part.provider_state.data))
        of_part = json_object(fields["part"])
    except (*UNREADABLE, KeyError) as error:
        raise invalid_field(f"{where}.provider_state", "must come back as it was given out.") from error
    call_id = fields.get("call_id")
    return State(
        part={name: value for name, value in of_part.items() if name in _REPLAYED},
        call_id=call_id if isinstance(call_id, str) else "",
        answer=details_of(fields, "answer"),
    )
