"""Writes conversations in Ollama's dialect, where a message is one text with pictures beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from llmgateway.v1.content_pb2 import Media, Message, Part, Role, ToolCall, ToolResult
from llmgateway_server.errors import unsupported
from llmgateway_server.providers.call_arguments import arguments_object
from llmgateway_server.providers.omissions import Omissions

WIRE_FORMAT = "ollama"
"""The name of the wire format, in `provider_options` and in provider states."""

Json = dict[str, Any]
"""A JSON object on its way out. Any: its values are whatever JSON has."""

_ROLES: Mapping[Role, str] = {
    Role.ROLE_SYSTEM: "system",
    Role.ROLE_DEVELOPER: "system",
    Role.ROLE_USER: "user",
    Role.ROLE_ASSISTANT: "assistant",
}


def write_messages(messages: Sequence[Message], omissions: Omissions) -> list[Json]:
    """The messages as the dialect has them. A tool message becomes one for each of its results.

    Raises UNSUPPORTED_FEATURE for what the dialect cannot express.
    """
    return _Writer(omissions).write(messages)


class _Writer:
    def __init__(self, omissions: Omissions) -> None:
        self._omissions = omissions
        self._names: dict[str, str] = {}
        """The tools of earlier calls, by the ids of the calls."""

    def write(self, messages: Sequence[Message]) -> list[Json]:
        written: list[Json] = []
        for index, message in enumerate(messages):
            where = f"messages[{index}]"
            if message.name:
                self._omissions.ignore_once("name", f"{where}.name", "the provider does not tell speakers apart.")
            if message.role == Role.ROLE_TOOL:
                written.extend(self._results(message.parts, where))
            elif message.role == Role.ROLE_ASSISTANT:
                written.append(self._assistant(message.parts, where))
            else:
                written.append({"role": _ROLES[message.role], **self._content(message.parts, where)})
        return written

    def _content(self, parts: Sequence[Part], where: str) -> Json:
        """The fields of what is said: one text, and the pictures that go with it."""
        if len(parts) == 1 and parts[0].WhichOneof("content") == "text" and not parts[0].HasField("cache_mark"):
            return {"content": parts[0].text}
        texts: list[str] = []
        images: list[str] = []
        within = False
        for index, part in enumerate(parts):
            field = f"{where}.parts[{index}]"
            self._check_cache_mark(part, field)
            kind = part.WhichOneof("content")
            if kind == "text":
                within = within or bool(texts and images)
                texts.append(part.text)
            elif kind == "image":
                images.append(self._image(part.image, f"{field}.image"))
            elif kind is not None:
                # A part may hold nothing but the state of a provider, which says nothing here.
                raise unsupported(f"{field}.{kind}", "the provider does not take it here.")
        if within:
            self._omissions.lose(where, "the provider puts pictures beside the text, not within it.")
        out: Json = {"content": "\n".join(texts)}
        if images:
            out["images"] = images
        return out

    def _assistant(self, parts: Sequence[Part], where: str) -> Json:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Json] = []
        for index, part in enumerate(parts):
            field = f"{where}.parts[{index}]"
            self._check_cache_mark(part, field)
            kind = part.WhichOneof("content")
            if kind == "text":
                texts.append(part.text)
            elif kind == "refusal":
                self._omissions.lose(f"{field}.refusal", "it goes back as plain text.")
                texts.append(part.refusal)
            elif kind == "reasoning":
                thoughts.append(part.reasoning)
            elif kind == "tool_call":
                calls.append(self._call(part.tool_call, len(calls), f"{field}.tool_call"))
            elif kind is not None:
                raise unsupported(f"{field}.{kind}", "the provider does not take it back from the model.")
        out: Json = {"role": "assistant", "content": "".join(texts)}
        if thoughts:
            out["thinking"] = "".join(thoughts)
        if calls:
            out["tool_calls"] = calls
        return out

    def _call(self, call: ToolCall, index: int, field: str) -> Json:
        if call.custom:
            raise unsupported(f"{field}.custom", "the provider has only functions.")
        self._names[call.id] = call.name
        arguments = arguments_object(call.arguments, f"{field}.arguments", self._omissions)
        return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}

    def _results(self, parts: Sequence[Part], where: str) -> list[Json]:
        return [
            self._result(part.tool_result, f"{where}.parts[{index}].tool_result")
            for index, part in enumerate(parts)
            if part.WhichOneof("content") == "tool_result"
        ]

    def _result(self, result: ToolResult, field: str) -> Json:
        if result.is_error:
            self._omissions.lose(f"{field}.is_error", "the provider has no mark for it; say it in the text.")
        return {
            "role": "tool",
            # Prompts are written with the name; the id alone says nothing to the model.
            "tool_name": result.name or self._names.get(result.call_id, ""),
            "tool_call_id": result.call_id,
            **self._content(result.parts, field),
        }

    def _image(self, media: Media, field: str) -> str:
        source = media.WhichOneof("source")
        if source != "data":
            raise unsupported(f"{field}.{source}", "the provider takes pictures as data.")
        if media.detail:
            self._omissions.ignore_once("detail", f"{field}.detail", "the provider chooses by itself.")
        return b64encode(media.data).decode("ascii")

    def _check_cache_mark(self, part: Part, field: str) -> None:
        if part.HasField("cache_mark"):
            self._omissions.ignore_once("cache_mark", f"{field}.cache_mark", "the provider caches by its own choice.")
