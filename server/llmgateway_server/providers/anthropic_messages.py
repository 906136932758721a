"""Writes conversations as Anthropic's dialect has them: instructions apart, and turns of two roles that alternate."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from llmgateway.v1.content_pb2 import CacheMark, Media, Message, Part, Role, ToolResult
from llmgateway_server.errors import invalid_field, unsupported
from llmgateway_server.providers.call_arguments import arguments_object
from llmgateway_server.providers.call_ids import plain_call_id
from llmgateway_server.providers.omissions import Omissions

WIRE_FORMAT = "anthropic"
"""The name of the wire format, in `provider_options` and in provider states."""

Json = dict[str, Any]
"""A JSON object on its way out. Any: its values are whatever JSON has."""

Block = Json | orjson.Fragment
"""A piece of a turn. A fragment is a piece that goes back as the very bytes that came."""

USER, ASSISTANT = "user", "assistant"
_ROLES: Mapping[Role, str] = {Role.ROLE_USER: USER, Role.ROLE_ASSISTANT: ASSISTANT}
THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})

_IMAGE_TYPES: Mapping[str, str] = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_MAX_MARKS = 4
_SHORT_SECONDS, _LONG_SECONDS = 300, 3600
"""How long the provider keeps a prefix: either the one or the other."""


class CacheMarks:
    """Marks the blocks that end a prefix worth caching. The provider takes four; the last ones are the best."""

    def __init__(self, omissions: Omissions) -> None:
        self._omissions = omissions
        self._marked: list[tuple[Json, str]] = []

    def put(self, block: Json, mark: CacheMark, field: str) -> None:
        """Marks a block. `field` is where the request has the mark."""
        control = {"type": "ephemeral"}
        if mark.HasField("ttl"):
            seconds = mark.ttl.ToSeconds()
            control["ttl"] = "5m" if seconds <= _SHORT_SECONDS else "1h"
            if seconds not in (_SHORT_SECONDS, _LONG_SECONDS):
                self._omissions.lose(f"{field}.ttl", f"the provider keeps it for 5m or 1h; it is {control['ttl']}.")
        block["cache_control"] = control
        self._marked.append((block, field))

    def settle(self) -> None:
        """Takes back the marks that are too many, the earliest first."""
        for block, place in self._marked[:-_MAX_MARKS]:
            del block["cache_control"]
            self._omissions.ignore(place, f"the provider takes {_MAX_MARKS} at most; later ones stand.")


@dataclass(slots=True)
class Turn:
    """A turn that is being written."""

    role: str
    blocks: list[Block] = field(default_factory=list[Block])
    results: list[Block] = field(default_factory=list[Block])
    """Results of tools, which the provider wants before everything else."""
    thinks: bool = False
    """Whether it begins with what the model thought."""
    ends_in_text: bool = False

    def written(self) -> Json:
        """The turn as the dialect has it. A lone text goes out as a string."""
        blocks = self.results + self.blocks if self.results else self.blocks
        return {"role": self.role, "content": lone_text(blocks) or blocks}


@dataclass(slots=True)
class Conversation:
    """A conversation that is written."""

    system: list[Block] = field(default_factory=list[Block])
    turns: list[Turn] = field(default_factory=list[Turn])
    called: dict[str, None] = field(default_factory=dict[str, None])
    """Names of the tools that were called, in order of their first call."""


def lone_text(blocks: Sequence[Block]) -> str:
    """The text, where the blocks are one text and nothing else; empty otherwise."""
    if len(blocks) == 1 and isinstance(block := blocks[0], dict) and len(block) == 2:  # noqa: PLR2004 - type and text
        return block.get("text", "")
    return ""


def write_conversation(messages: Sequence[Message], omissions: Omissions, marks: CacheMarks) -> Conversation:
    """The conversation in the dialect's terms. Raises UNSUPPORTED_FEATURE for what it cannot express."""
    writer = _Writer(omissions, marks)
    for index, message in enumerate(messages):
        if not writer.add_plain(message):
            writer.add(message, f"messages[{index}]")
    conversation = writer.conversation
    if not conversation.turns or conversation.turns[0].role != USER:
        raise unsupported("messages", "the provider wants the user to begin the conversation.")
    return conversation


class _Writer:
    def __init__(self, omissions: Omissions, marks: CacheMarks) -> None:
        self.conversation = Conversation()
        self._omissions = omissions
        self._marks = marks

    def add_plain(self, message: Message) -> bool:
        """Adds a message of nothing but one text, as nearly all are. Tells whether it was one."""
        role, parts = _ROLES.get(message.role), message.parts
        if role is None or len(parts) != 1 or message.name:
            return False
        part = parts[0]
        text = part.text
        if not text or text.isspace() or part.HasField("provider_state") or part.HasField("cache_mark"):
            return False
        turn = self._turn(role)
        turn.blocks.append({"type": "text", "text": text})
        turn.ends_in_text = True
        return True

    def add(self, message: Message, where: str) -> None:
        """Adds a message. Neighbours with one role become one turn; a message that says nothing becomes none."""
        role = message.role
        if message.name:
            self._omissions.ignore_once("name", f"{where}.name", "the provider does not tell speakers apart.")
        if role == Role.ROLE_ASSISTANT:
            self._add_assistant(message.parts, where)
        elif role == Role.ROLE_TOOL:
            self._add_results(message.parts, where)
        elif role == Role.ROLE_USER:
            if blocks := self._user_blocks(message.parts, where):
                self._extend(USER, blocks)
        else:
            self._add_instructions(message.parts, where)

    def _add_instructions(self, parts: Sequence[Part], where: str) -> None:
        if self.conversation.turns:
            self._omissions.lose(where, "the provider takes instructions only before the conversation.")
        for index, part in enumerate(parts):
            kind = part.WhichOneof("content")
            if kind == "text":
                self._text(self.conversation.system, part, f"{where}.parts[{index}]")
            elif kind is not None:
                raise unsupported(f"{where}.parts[{index}].{kind}", "the provider takes only text as instructions.")

    def _user_blocks(self, parts: Sequence[Part], where: str) -> list[Block]:
        blocks: list[Block] = []
        for index, part in enumerate(parts):
            kind = part.WhichOneof("content")
            if kind == "text":
                self._text(blocks, part, f"{where}.parts[{index}]")
            elif kind is not None:
                # A part may hold nothing but the state of a provider, which says nothing here.
                blocks.append(self._media(part, kind, f"{where}.parts[{index}]"))
        return blocks

    def _add_results(self, parts: Sequence[Part], where: str) -> None:
        for index, part in enumerate(parts):
            if part.WhichOneof("content") == "tool_result":
                field = f"{where}.parts[{index}]"
                block = self._result(part.tool_result, f"{field}.tool_result")
                self._mark(block, part, field)
                self._turn(USER).results.append(block)

    def _result(self, result: ToolResult, field: str) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": plain_call_id(result.call_id)}
        if content := self._user_blocks(result.parts, field):
            block["content"] = lone_text(content) or content
        if result.is_error:
            block["is_error"] = True
        return block

    def _add_assistant(self, parts: Sequence[Part], where: str) -> None:
        blocks: list[Block] = []
        thinks = False
        for index, part in enumerate(parts):
            field = f"{where}.parts[{index}]"
            kind = part.WhichOneof("content")
            state = _state(part, field)
            if kind in ("text", "refusal"):
                self._said(blocks, part, state, field)
            elif kind == "tool_call":
                blocks.append(self._call(part, state, field))
            elif kind == "reasoning" or kind is None:
                is_thought = self._thought(blocks, part, state, field)
                thinks = thinks or (is_thought and len(blocks) == 1)
            else:
                raise unsupported(f"{field}.{kind}", "the provider does not take it back from the model.")
        if blocks:
            begins = not self.conversation.turns or self.conversation.turns[-1].role != ASSISTANT
            turn = self._extend(ASSISTANT, blocks)
            if begins:
                turn.thinks = thinks

    def _said(self, blocks: list[Block], part: Part, state: Json, field: str) -> None:
        if part.WhichOneof("content") == "text":
            self._text(blocks, part, field, state)
        elif part.refusal.strip():
            self._omissions.lose(f"{field}.refusal", "it goes back as plain text.")
            blocks.append({"type": "text", "text": part.refusal})

    def _thought(self, blocks: list[Block], part: Part, state: Json, field: str) -> bool:
        """Adds a block that goes back as it came, if it is the provider's own, and tells whether it is a thought."""
        if part.HasField("cache_mark"):
            self._omissions.ignore(f"{field}.cache_mark", "the provider takes no mark on reasoning.")
        if state:
            # The signature is of these very bytes.
            blocks.append(orjson.Fragment(part.provider_state.data))
        elif part.reasoning:
            self._omissions.ignore_once(
                "reasoning", f"{field}.reasoning", "the provider takes back only what it signed."
            )
        return state.get("type") in THINKING_BLOCKS

    def _call(self, part: Part, state: Json, field: str) -> Json:
        call = part.tool_call
        if call.custom:
            raise unsupported(f"{field}.tool_call.custom", "the provider has only functions.")
        self.conversation.called.setdefault(call.name)
        block: Json = {
            **state,
            "type": "tool_use",
            "id": plain_call_id(call.id),
            "name": call.name,
            "input": arguments_object(call.arguments, f"{field}.tool_call.arguments", self._omissions),
        }
        self._mark(block, part, field)
        return block

    def _text(self, blocks: list[Block], part: Part, field: str, state: Json | None = None) -> None:
        """Adds a text, unless it is blank: the provider refuses blank texts, and models write some."""
        text = part.text
        if text and not text.isspace():
            block: Json = {**state, "type": "text", "text": text} if state else {"type": "text", "text": text}
            self._mark(block, part, field)
            blocks.append(block)
        elif part.HasField("cache_mark"):
            self._omissions.ignore(f"{field}.cache_mark", "the provider takes no blank text that could bear it.")

    def _media(self, part: Part, kind: str, field: str) -> Json:
        if kind == "image":
            block = self._image(part.image, f"{field}.image")
        elif kind == "file":
            block = _document(part.file, f"{field}.file")
        else:
            raise unsupported(f"{field}.{kind}", "the provider does not take it.")
        self._mark(block, part, field)
        return block

    def _image(self, media: Media, field: str) -> Json:
        if media.detail:
            self._omissions.ignore_once("detail", f"{field}.detail", "the provider chooses by itself.")
        source = _reference(media)
        if source is None:
            mime_type = _IMAGE_TYPES.get(_plain_type(media))
            if mime_type is None:
                raise unsupported(
                    f"{field}.mime_type", f"the provider takes JPEG, PNG, GIF and WebP; got {media.mime_type!r}."
                )
            source = _inline(mime_type, media.data)
        return {"type": "image", "source": source}

    def _mark(self, block: Json, part: Part, field: str) -> None:
        if part.HasField("cache_mark"):
            self._marks.put(block, part.cache_mark, f"{field}.cache_mark")

    def _extend(self, role: str, blocks: Iterable[Block]) -> Turn:
        turn = self._turn(role)
        turn.blocks.extend(blocks)
        last = turn.blocks[-1]
        turn.ends_in_text = isinstance(last, dict) and last["type"] == "text"
        return turn

    def _turn(self, role: str) -> Turn:
        turns = self.conversation.turns
        if not turns or turns[-1].role != role:
            turns.append(Turn(role))
        return turns[-1]


def _state(part: Part, field: str) -> Json:
    """The provider's own block, or what it has beyond the part itself; empty where there is none.

    Raises INVALID_FIELD for what no answer held.
    """
    if not part.HasField("provider_state") or part.provider_state.wire_format != WIRE_FORMAT:
        return {}
    try:
        state: object = orjson.loads(part.provider_state.data)
    except orjson.JSONDecodeError:
        state = None
    if not isinstance(state, dict) or not isinstance(cast("Json", state).get("type"), str):
        raise invalid_field(f"{field}.provider_state", "must come back as it was given out.")
    return cast("Json", state)


def _document(media: Media, field: str) -> Json:
    mime_type = _plain_type(media)
    source = _reference(media)
    if source is not None:
        if media.url and mime_type not in ("", "application/pdf"):
            raise unsupported(f"{field}.mime_type", f"the provider fetches only PDF; got {media.mime_type!r}.")
    elif mime_type == "application/pdf":
        source = _inline(mime_type, media.data)
    elif mime_type.startswith("text/"):
        try:
            source = {"type": "text", "media_type": "text/plain", "data": media.data.decode()}
        except UnicodeDecodeError as error:
            raise unsupported(f"{field}.data", "the provider takes texts in UTF-8 only.") from error
    else:
        raise unsupported(f"{field}.mime_type", f"the provider takes PDF and plain text; got {media.mime_type!r}.")
    block: Json = {"type": "document", "source": source}
    if media.filename:
        block["title"] = media.filename
    return block


def _reference(media: Media) -> Json | None:
    """A source that says where the bytes are; None for the bytes themselves."""
    source = media.WhichOneof("source")
    if source == "url":
        return {"type": "url", "url": media.url}
    if source == "file_id":
        return {"type": "file", "file_id": media.file_id}
    return None


def _inline(mime_type: str, data: bytes) -> Json:
    return {"type": "base64", "media_type": mime_type, "data": b64encode(data).decode("ascii")}


def _plain_type(media: Media) -> str:
    return media.mime_type.partition(";")[0].strip().lower()
