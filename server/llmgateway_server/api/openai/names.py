"""What a field of the native request is called in OpenAI's dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmgateway_server.api.openai.request import Places
from llmgateway_server.errors import GatewayError

_RENAMED: Mapping[str, str] = {
    "generation.max_output_tokens": "max_completion_tokens",
    "generation.response_format.schema": "response_format.json_schema.schema",
    "generation.response_format.name": "response_format.json_schema.name",
    "generation.response_format.strict": "response_format.json_schema.strict",
    "generation.output_modalities": "modalities",
    "generation.audio_voice": "audio.voice",
    "generation.audio_format": "audio.format",
    "tool_choice.parallel": "parallel_tool_calls",
    "tool_choice.names": "tool_choice",
    "end_user": "user",
    "labels": "metadata",
}
_PLACE = re.compile(r"^messages\[(\d+)\](?:\.parts\[(\d+)\](?=\.tool_result\b))?")
_PARTS = re.compile(r"\.parts(?=\[|$)")
_CALL = re.compile(r"\.parts\[\d+\]\.tool_call\b")


def dialect_name(field: str, places: Places = ()) -> str:
    """The dialect's name for a field of the native request. `places` says where its messages come from."""
    for native, name in _RENAMED.items():
        if field == native or field.startswith((native + ".", native + "[")):
            return name + field.removeprefix(native)
    field = _PLACE.sub(lambda found: _place(found, places), field.removeprefix("generation."))
    field = field.replace(".tool_result.call_id", ".tool_call_id").replace(".tool_result", "")
    return _PARTS.sub(".content", _CALL.sub(".tool_calls", field))


def _place(found: re.Match[str], places: Places) -> str:
    """The message of the body that a message, or a result in it, was read from."""
    message, part = int(found[1]), int(found[2] or 0)
    if message < len(places):
        message = places[message][min(part, len(places[message]) - 1)]
    return f"messages[{message}]"


def rename_fields(error: GatewayError, places: Places = ()) -> None:
    """Gives the field of an error of a conversation the dialect's name, in the message and the metadata too."""
    if error.field:
        rename_field(error, dialect_name(error.field, places))


def rename_field(error: GatewayError, name: str) -> None:
    """Gives the field of an error another name, in the message and the metadata too."""
    if error.message.startswith(error.field):
        error.message = name + error.message.removeprefix(error.field)
    if error.metadata.get("field") == error.field:
        error.metadata["field"] = name
    error.field = name
