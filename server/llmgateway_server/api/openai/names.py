"""What a field of the native request is called in OpenAI's dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
_PARTS = re.compile(r"\.parts\[(\d+)\]")
_RESULT = re.compile(r"\.parts\[\d+\]\.tool_result\.call_id$")
_CALL = re.compile(r"\.parts\[\d+\]\.tool_call\b")


def dialect_name(field: str) -> str:
    """The dialect's name for a field of the native request."""
    for native, name in _RENAMED.items():
        if field == native or field.startswith((native + ".", native + "[")):
            return name + field.removeprefix(native)
    field = field.removeprefix("generation.")
    field = _RESULT.sub(".tool_call_id", field)
    field = _CALL.sub(".tool_calls", field)
    field = _PARTS.sub(r".content[\1]", field)
    return field.removesuffix(".parts") + ".content" if field.endswith(".parts") else field


def rename_fields(error: GatewayError) -> GatewayError:
    """The same error with its field by the dialect's name, in the message too."""
    if error.field:
        name = dialect_name(error.field)
        if error.message.startswith(error.field):
            error.message = name + error.message.removeprefix(error.field)
        error.field = name
    return error
