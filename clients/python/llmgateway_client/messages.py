"""Short ways to write the messages of a conversation, and to read the text of one."""

import json
from collections.abc import Mapping
from typing import Any

from llmgateway_client.generated.llmgateway import v1


def system(text: str) -> v1.Message:
    """Instructions of the operator."""
    return v1.Message(role=v1.Role.SYSTEM, parts=[v1.Part(text=text)])


def user(*content: str | v1.Part) -> v1.Message:
    """What the end user says: texts, and parts such as pictures, in order."""
    parts = [v1.Part(text=piece) if isinstance(piece, str) else piece for piece in content]
    return v1.Message(role=v1.Role.USER, parts=parts)


def assistant(text: str) -> v1.Message:
    """An earlier answer of the model. An answer of the gateway goes back as its own `message` instead."""
    return v1.Message(role=v1.Role.ASSISTANT, parts=[v1.Part(text=text)])


def tool_result(call_id: str, text: str, *, is_error: bool = False) -> v1.Message:
    """What a tool answered to the call of that id."""
    result = v1.ToolResult(call_id=call_id, parts=[v1.Part(text=text)], is_error=is_error)
    return v1.Message(role=v1.Role.TOOL, parts=[v1.Part(tool_result=result)])


def function_tool(
    name: str,
    description: str = "",
    *,
    parameters: Mapping[str, Any] | None = None,  # Any: a JSON Schema
    strict: bool | None = None,
) -> v1.Tool:
    """A function that the model may have run. `parameters` is the JSON Schema of its arguments."""
    schema = json.dumps(parameters) if parameters is not None else ""
    return v1.Tool(
        function=v1.FunctionTool(name=name, description=description, parameters_schema=schema, strict=strict)
    )


def text_of(message: v1.Message | None) -> str:
    """The text parts of a message, joined. Empty for no message."""
    return "".join(part.text for part in message.parts if part.text is not None) if message is not None else ""


def tool_calls_of(message: v1.Message | None) -> list[v1.ToolCall]:
    """The tool calls of a message, in order."""
    return [part.tool_call for part in message.parts if part.tool_call is not None] if message is not None else []
