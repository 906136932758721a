"""Writes conversations in Cohere's dialect."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from llmgateway.v1.content_pb2 import Media, Message, Part, Role, ToolCall, ToolResult
from llmgateway_server.errors import unsupported
from llmgateway_server.providers.omissions import Omissions

WIRE_FORMAT = "cohere"
"""The name of the wire format, in `provider_options` and in provider states."""

Json = dict[str, Any]
"""A JSON object on its way out. Any: its values are whatever JSON has."""

_ROLES: Mapping[Role, str] = {
    Role.ROLE_SYSTEM: "system",
    Role.ROLE_DEVELOPER: "system",
    Role.ROLE_USER: "user",
    Role.ROLE_ASSISTANT: "assistant",
}
_DETAILS = frozenset({"auto", "low", "high"})


def write_messages(messages: Sequence[Message], omissions: Omissions) -> list[Json]:
    """The messages as the dialect has them. A tool message becomes one for each of its results.

    Raises UNSUPPORTED_FEATURE for what the dialect cannot express.
    """
    return _Writer(omissions).write(messages)


class _Writer:
    def __init__(self, omissions: Omissions) -> None:
        self._omissions = omissions

    def write(self, messages: Sequence[Message]) -> list[Json]:
        written: list[Json] = []
        for index, message in enumerate(messages):
            if message.name:
                field = f"messages[{index}].name"
                self._omissions.ignore_once("name", field, "the provider does not tell speakers apart.")
            if (text := _lone_text(message.parts)) is not None and message.role != Role.ROLE_TOOL:
                written.append({"role": _ROLES[message.role], "content": text})
            else:
                written.extend(self._composed(message, f"messages[{index}]"))
        return written

    def _composed(self, message: Message, where: str) -> list[Json]:
        if message.role == Role.ROLE_ASSISTANT:
            return [self._assistant(message.parts, where)]
        if message.role == Role.ROLE_TOOL:
            return [
                self._result(part.tool_result, f"{where}.parts[{index}].tool_result")
                for index, part in enumerate(message.parts)
                if part.WhichOneof("content") == "tool_result"
            ]
        pictures = message.role == Role.ROLE_USER
        return [{"role": _ROLES[message.role], "content": self._content(message.parts, where, pictures=pictures)}]

    def _content(self, parts: Sequence[Part], where: str, *, pictures: bool) -> str | list[Json]:
        """A lone text goes out as a string; anything else as a list of parts."""
        pieces: list[Json] = []
        for index, part in enumerate(parts):
            field = f"{where}.parts[{index}]"
            self._check_cache_mark(part, field)
            kind = part.WhichOneof("content")
            if kind == "text":
                pieces.append({"type": "text", "text": part.text})
            elif kind == "image" and pictures:
                pieces.append(self._image(part.image, f"{field}.image"))
            elif kind is not None:
                # A part may hold nothing but the state of a provider, which says nothing here.
                raise unsupported(f"{field}.{kind}", "the provider does not take it here.")
        if not pieces:
            return ""
        return pieces[0]["text"] if len(pieces) == 1 and pieces[0]["type"] == "text" else pieces

    def _assistant(self, parts: Sequence[Part], where: str) -> Json:
        texts: list[str] = []
        thoughts: list[Json] = []
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
                thoughts.append({"type": "thinking", "thinking": part.reasoning})
            elif kind == "tool_call":
                calls.append(_call(part.tool_call, f"{field}.tool_call"))
            elif kind is not None:
                raise unsupported(f"{field}.{kind}", "the provider does not take it back from the model.")
        return _turn(texts, thoughts, calls)

    def _result(self, result: ToolResult, field: str) -> Json:
        if result.is_error:
            self._omissions.lose(f"{field}.is_error", "the provider has no mark for it; say it in the text.")
        content = self._content(result.parts, field, pictures=False)
        return {"role": "tool", "tool_call_id": result.call_id, "content": content}

    def _image(self, media: Media, field: str) -> Json:
        source = media.WhichOneof("source")
        if source == "file_id":
            raise unsupported(f"{field}.file_id", "the provider takes pictures by url or data.")
        if source == "url":
            image: Json = {"url": media.url}
        else:
            image = {"url": f"data:{media.mime_type};base64,{b64encode(media.data).decode('ascii')}"}
        if media.detail in _DETAILS:
            image["detail"] = media.detail
        elif media.detail:
            self._omissions.ignore(f"{field}.detail", f"the provider has no detail {media.detail!r}.")
        return {"type": "image_url", "image_url": image}

    def _check_cache_mark(self, part: Part, field: str) -> None:
        if part.HasField("cache_mark"):
            self._omissions.ignore_once("cache_mark", f"{field}.cache_mark", "the provider caches by its own choice.")


def _lone_text(parts: Sequence[Part]) -> str | None:
    """The text of a message of nothing but one text, as nearly all are; None for others."""
    if len(parts) != 1 or parts[0].WhichOneof("content") != "text" or parts[0].HasField("cache_mark"):
        return None
    return parts[0].text


def _turn(texts: Sequence[str], thoughts: list[Json], calls: list[Json]) -> Json:
    """A turn of the model. What it says beside its calls is its plan, and has a field of its own."""
    out: Json = {"role": "assistant"}
    said = "".join(texts)
    if calls:
        if thoughts:
            out["content"] = thoughts
        if said:
            out["tool_plan"] = said
        out["tool_calls"] = calls
    elif thoughts:
        out["content"] = [*thoughts, {"type": "text", "text": said}] if said else thoughts
    else:
        out["content"] = said
    return out


def _call(call: ToolCall, field: str) -> Json:
    if call.custom:
        raise unsupported(f"{field}.custom", "the provider has only functions.")
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
