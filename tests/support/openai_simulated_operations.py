"""What OpenAI's servers do besides conversations, for the simulator: the same shapes, and the same refusals."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email import message_from_bytes
from typing import Any

from aiohttp import web

from tests.support.simulation import Entry, Json, Play, Script

MODELS = ("embed-sim", "moderate-sim", "rerank-sim", "hear-sim", "speak-sim", "gpt-image-sim", "draw-sim")
_FIELDS: Mapping[str, frozenset[str]] = {
    "/v1/embeddings": frozenset({"model", "input", "dimensions", "encoding_format", "user"}),
    "/v1/moderations": frozenset({"model", "input"}),
    "/v1/rerank": frozenset({"model", "query", "documents", "top_n", "return_documents"}),
    "/v1/audio/speech": frozenset({"model", "input", "voice", "instructions", "response_format", "speed"}),
    "/v1/images/generations": frozenset(
        {"model", "prompt", "n", "size", "quality", "style", "response_format", "user"}
    ),
    "/v1/audio/transcriptions": frozenset(
        {"model", "file", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]"}
    ),
    "/v1/audio/translations": frozenset({"model", "file", "prompt", "response_format", "temperature"}),
}
PATHS = tuple(_FIELDS)
_SPEECH_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "opus": "audio/opus"}
_OK = 200
PICTURE = b"\x89PNG simulated"


def read_form(content_type: str, data: bytes) -> Json:
    """The fields of a form. Of a file: its name, its type and its size."""
    body: Json = {}
    for part in message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + data).walk():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(value, bytes):
            continue
        if filename := part.get_filename():
            body[name] = [filename, part.get_content_type(), len(value)]
        elif name.endswith("[]"):
            body.setdefault(name, []).append(value.decode())
        else:
            body[name] = value.decode()
    return body


def fault(path: str, body: Any) -> tuple[str, str] | None:
    """What OpenAI refuses: a field, and why."""
    if not isinstance(body, dict):
        return "", "We could not parse the body of your request."
    fields: Json = body
    for name in fields:
        if name not in _FIELDS[path] and name != "x_sim_script":
            return name, f"Unrecognized request argument supplied: {name}"
    model = str(fields.get("model"))
    if model not in MODELS:
        return "model", f"The model `{model}` does not exist."
    if path == "/v1/embeddings" and "" in fields["input"]:
        return "input", "input cannot be an empty string"
    if model.startswith("gpt-image") and "response_format" in fields:
        return "response_format", "Unknown parameter: 'response_format'."
    return None


class OperationPlay(Play):
    """Plays one script for what is not a conversation. Only speech comes in pieces."""

    def __init__(self, request: web.Request, entry: Entry, script: Script, headers: dict[str, str]) -> None:
        self._path = request.path
        if self._path.startswith("/v1/audio/tr") and script.body is None and script.status == _OK:
            text, content_type = _transcript(entry.body, script.text or "simulated words", self._path)
            script = replace(script, body=text, content_type=content_type)
        super().__init__(request, entry, script, headers)
        if self.streams():
            self.stream_type = _SPEECH_TYPES[self.body.get("response_format", "mp3")]

    def streams(self) -> bool:
        return self._path.endswith("/speech")

    def whole(self) -> Json:
        return _ANSWERS[self._path](self.body)

    def frames(self) -> Iterator[bytes]:
        for word in self.body["input"].split():
            yield f"[{word}]".encode() * 100

    def last_frame(self) -> bytes:
        return b""

    def error(self, error: Json | None) -> Json:
        return {"error": error or {"message": "No."}}

    def error_frame(self) -> bytes:
        return b""


def _embeddings(body: Json) -> Json:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data: list[Json] = []
    for index, text in enumerate(texts):
        vector = [len(text) / 8, *(0.5,) * (body.get("dimensions", 4) - 1)]
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append(
            {
                "object": "embedding",
                "index": index,
                "embedding": packed if body.get("encoding_format") == "base64" else vector,
            }
        )
    words = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _moderations(body: Json) -> Json:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    results: list[Json] = []
    for text in texts:
        bad = "harm" in str(text)
        results.append(
            {
                "flagged": bad,
                "categories": {"violence": bad, "hate/threatening": False},
                "category_scores": {"violence": 0.75 if bad else 0.25, "hate/threatening": 0.0},
                "category_applied_input_types": {"violence": ["text"]},
            }
        )
    return {"id": "modr-sim", "model": body["model"], "results": results}


def _rerank(body: Json) -> Json:
    scored: list[Json] = [
        {"index": index, "relevance_score": document.count(body["query"]) / 4, "document": {"text": document}}
        for index, document in enumerate(body["documents"])
    ]
    return {
        "id": "rerank-sim",
        "model": body["model"],
        "results": sorted(scored, key=lambda each: -each["relevance_score"])[: body.get("top_n")],
        "usage": {"total_tokens": 9},
    }


def _images(body: Json) -> Json:
    url = {"url": "https://pictures.example/1.png"}
    picture = url if body.get("response_format") == "url" else {"b64_json": base64.b64encode(PICTURE).decode()}
    return {
        "created": 1_760_000_000,
        "data": [picture] * body.get("n", 1),
        "output_format": "png",
        "usage": {"input_tokens": 3, "output_tokens": 100, "total_tokens": 103},
    }


def _transcript(body: Json, text: str, path: str) -> tuple[str, str]:
    kind = body.get("response_format", "json")
    if kind == "srt":
        return f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n", "text/plain; charset=utf-8"
    if kind in ("text", "vtt"):
        return f"{text}\n", "text/plain; charset=utf-8"
    told: Json = {"text": text}
    if kind == "json":
        told["usage"] = {"type": "tokens", "input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    else:
        task = "translate" if path.endswith("translations") else "transcribe"
        told |= {"task": task, "language": "english", "duration": 1.5}
        told["segments"] = [{"id": 0, "start": 0.0, "end": 1.5, "text": text, "tokens": [1]}]
        if "word" in body.get("timestamp_granularities[]", ()):
            told["words"] = [{"word": word, "start": 0.25, "end": 0.5} for word in text.split()]
    return json.dumps(told), "application/json"


_ANSWERS: Mapping[str, Callable[[Json], Json]] = {
    "/v1/embeddings": _embeddings,
    "/v1/moderations": _moderations,
    "/v1/rerank": _rerank,
    "/v1/images/generations": _images,
}
