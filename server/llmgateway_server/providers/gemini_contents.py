"""Writes conversations as Gemini has them: instructions apart, turns of user and model, results in the calls' order."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from llmgateway.v1.content_pb2 import Media, Message, Part, Role, ToolCall, ToolResult
from llmgateway_server.errors import unsupported
from llmgateway_server.providers.gemini_models import Family
from llmgateway_server.providers.gemini_state import State, read_state
from llmgateway_server.providers.omissions import Omissions

Json = dict[str, Any]
"""A JSON object on its way out. Any: its values are whatever JSON has."""

FILES_URL = "https://generativelanguage.googleapis.com/v1beta"
"""Where the provider keeps files that were uploaded to it."""

_INSTRUCTIONS = frozenset({Role.ROLE_SYSTEM, Role.ROLE_DEVELOPER})
_PLAIN_SPEAKERS: Mapping[Role, str] = {Role.ROLE_USER: "user", Role.ROLE_ASSISTANT: "model"}
_NOT_SIGNED = "skip_thought_signature_validator"
"""What the provider takes in the place of a signature, for calls that its model did not make."""

_YOUTUBE = re.compile(r"https://((www\.|m\.)?youtube\.com|youtu\.be)/")
_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
"""Types by the ends of addresses, for callers who do not say them."""


class Contents:
    """The conversation of one request, as it is written."""

    def __init__(self, family: Family, omissions: Omissions, *, vertex: bool) -> None:
        self.instructions: list[Json] = []
        """Parts of the system instruction."""
        self.turns: list[Json] = []
        self._family = family
        self._omissions = omissions
        self._vertex = vertex
        self._speaker = ""
        self._calls: dict[str, tuple[int, str]] = {}
        self._called = False
        self._results: list[tuple[int, Json]] = []
        self._told: set[str] = set()

    def write(self, messages: Sequence[Message]) -> None:
        """Writes all messages. Raises UNSUPPORTED_FEATURE for content that the provider does not take."""
        for index, message in enumerate(messages):
            if self._add_plain(message):
                continue
            where = f"messages[{index}]"
            if message.name:
                self._tell_once("name", f"{where}.name", "the provider does not tell speakers apart.")
            if message.role in _INSTRUCTIONS:
                self._instruct(message, where)
            elif message.role == Role.ROLE_TOOL:
                self._add_results(message, where)
            elif message.role == Role.ROLE_ASSISTANT:
                self._add_turn("model", message, where)
            else:
                self._add_turn("user", message, where)
        self._end_results()
        if not self.turns:
            raise unsupported("messages", "the provider answers a user; send a message of the role user.")

    def _add_plain(self, message: Message) -> bool:
        """Adds a turn of nothing but one text, as nearly all are; False for others."""
        parts = message.parts
        speaker = _PLAIN_SPEAKERS.get(message.role)
        if speaker is None or len(parts) != 1 or message.name:
            return False
        part = parts[0]
        if not part.text or part.HasField("provider_state") or part.HasField("cache_mark"):
            return False
        if self._results:
            self._end_results()
        if speaker != self._speaker:
            self._called = False
        self._add(speaker, [{"text": part.text}])
        return True

    def _instruct(self, message: Message, where: str) -> None:
        if self._speaker:
            self._omissions.lose(f"{where}.role", "the provider takes instructions only before the first turn.")
        for index, part in enumerate(message.parts):
            kind = part.WhichOneof("content")
            self._check_cache_mark(part, f"{where}.parts[{index}]")
            if kind == "text":
                self.instructions.append({"text": part.text})
            elif kind is not None:
                raise unsupported(f"{where}.parts[{index}].{kind}", "the provider takes instructions as text.")

    def _add_turn(self, speaker: str, message: Message, where: str) -> None:
        self._end_results()
        if speaker != self._speaker:
            self._called = False
        parts = [
            written
            for index, part in enumerate(message.parts)
            if (written := self._part(part, f"{where}.parts[{index}]", of_model=speaker == "model")) is not None
        ]
        self._add(speaker, parts)

    def _add(self, speaker: str, parts: list[Json]) -> None:
        """Adds to the turn of the same speaker, or begins one."""
        if not parts:
            return
        if speaker == self._speaker:
            self.turns[-1]["parts"].extend(parts)
        else:
            self.turns.append({"role": "model" if speaker == "model" else "user", "parts": parts})
            self._speaker = speaker

    def _part(self, part: Part, where: str, *, of_model: bool) -> Json | None:
        """The part as the provider has it; None for one that says nothing there."""
        self._check_cache_mark(part, where)
        state = read_state(part, where)
        kind = part.WhichOneof("content")
        if kind == "text":
            # An empty text is refused, unless it carries a signature.
            return {"text": part.text, **state.part} if part.text or state.part or not of_model else None
        if kind is None:
            return _bare(state)
        if kind == "tool_call":
            return self._call(part.tool_call, state, f"{where}.tool_call")
        if kind == "reasoning":
            return self._reasoning(part.reasoning, state, f"{where}.reasoning")
        if kind == "refusal":
            self._omissions.lose(f"{where}.refusal", "the provider does not tell refusals from other text.")
            return {"text": part.refusal}
        return {**self._media(getattr(part, kind), f"{where}.{kind}"), **state.part}

    def _reasoning(self, text: str, state: State, field: str) -> Json | None:
        if not state.part:
            self._tell_once("reasoning", field, "the provider takes only its own reasoning back.")
            return None
        return {"text": text, **state.part}

    def _call(self, call: ToolCall, state: State, field: str) -> Json:
        if call.custom:
            raise unsupported(f"{field}.custom", "the provider takes only functions.")
        self._calls[call.id] = (len(self._calls), state.call_id)
        written: Json = {"name": call.name, "args": self._arguments(call.arguments, f"{field}.arguments")}
        if state.call_id:
            written["id"] = state.call_id
        out = {"functionCall": written, **state.part}
        if self._family.signs_calls and not self._called and "thoughtSignature" not in out:
            out["thoughtSignature"] = _NOT_SIGNED
            if "signature" not in self._told:
                self._told.add("signature")
                self._omissions.lose(field, "the call has no signature of the provider; its reasoning is lost.")
        self._called = True
        return out

    def _arguments(self, text: str, field: str) -> Json:
        try:
            arguments: object = orjson.loads(text or "{}")
        except orjson.JSONDecodeError:
            arguments = None
        if isinstance(arguments, dict):
            return arguments  # pyright: ignore[reportUnknownVariableType] - a JSON object, as it is
        self._omissions.lose(field, "the provider takes an object; the text is sent as a field of one.")
        return {"arguments": text}

    def _add_results(self, message: Message, where: str) -> None:
        for index, part in enumerate(message.parts):
            if part.WhichOneof("content") == "tool_result":
                self._check_cache_mark(part, f"{where}.parts[{index}]")
                result = part.tool_result
                place, call_id = self._calls.get(result.call_id, (len(self._calls), ""))
                self._results.append((place, self._result(result, call_id, f"{where}.parts[{index}].tool_result")))

    def _end_results(self) -> None:
        """Puts the results so far in a turn of their own, in the order of the calls that they answer."""
        if self._results:
            self._results.sort(key=lambda each: each[0])
            self._add("tool", [{"functionResponse": result} for _, result in self._results])
            self._results = []

    def _result(self, result: ToolResult, call_id: str, field: str) -> Json:
        texts: list[str] = []
        media: list[Json] = []
        for index, piece in enumerate(result.parts):
            kind = piece.WhichOneof("content")
            if kind == "text":
                texts.append(piece.text)
            elif kind is not None:
                inner = f"{field}.parts[{index}].{kind}"
                if not self._family.media_results:
                    raise unsupported(inner, "the model takes only text from tools.")
                media.append(self._media(getattr(piece, kind), inner))
        said = texts if len(texts) > 1 else "".join(texts)
        out: Json = {"name": result.name, "response": {"error" if result.is_error else "output": said}}
        if call_id:
            out["id"] = call_id
        if media:
            out["parts"] = media
        return out

    def _media(self, media: Media, field: str) -> Json:
        if media.detail not in ("", "auto"):
            self._tell_once("detail", f"{field}.detail", "the provider takes no detail of a single picture.")
        if media.filename:
            self._tell_once("filename", f"{field}.filename", "the provider takes no names of files.")
        source = media.WhichOneof("source")
        if source == "data":
            data = b64encode(media.data).decode("ascii")
            return {"inlineData": {"mimeType": media.mime_type, "data": data}}
        if source == "file_id":
            file: Json = {"fileUri": self._file_url(media.file_id, f"{field}.file_id")}
        else:
            file = {"fileUri": self._url(media.url, f"{field}.url")}
        if mime_type := media.mime_type or _TYPES.get(file["fileUri"].rpartition(".")[2].lower(), ""):
            file["mimeType"] = mime_type
        elif self._vertex:
            raise unsupported(f"{field}.mime_type", "the provider wants the type of a file; set it.")
        return {"fileData": file}

    def _file_url(self, file_id: str, field: str) -> str:
        """The address of an uploaded file: `gs://...` in a bucket, or one that the provider's Files API keeps."""
        if file_id.startswith(("gs://", "https://")):
            return file_id
        if self._vertex:
            raise unsupported(field, f"the provider takes files at gs:// addresses; got {file_id!r}.")
        return f"{FILES_URL}/{file_id if file_id.startswith('files/') else f'files/{file_id}'}"

    def _url(self, url: str, field: str) -> str:
        """An address that the provider fetches. Vertex AI fetches any, the Gemini API its own files and YouTube."""
        if self._vertex or _YOUTUBE.match(url) or url.startswith(f"{FILES_URL}/files/"):
            return url
        raise unsupported(field, "the provider does not fetch addresses; send the data.")

    def _check_cache_mark(self, part: Part, where: str) -> None:
        if part.HasField("cache_mark"):
            self._tell_once("cache_mark", f"{where}.cache_mark", "the provider caches by its own choice.")

    def _tell_once(self, what: str, field: str, message: str) -> None:
        """Says that a field is left out, for the first one of its kind."""
        if what not in self._told:
            self._told.add(what)
            self._omissions.ignore(field, message)


def _bare(state: State) -> Json | None:
    """A part that holds nothing but a state: of Gemini, it is sent as it came; of others, it says nothing here."""
    if not state.part.keys() - {"thought"}:
        return None
    if state.part.keys() <= {"thought", "thoughtSignature"}:
        return {"text": "", **state.part}
    return dict(state.part)
