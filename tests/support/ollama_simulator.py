"""Ollama's native API as a server of its own: real HTTP, lines of JSON, real refusals, scripted by the test.

`python -m tests.support.ollama_simulator` prints its port and serves until it is told to end. Without a script it
answers with the words of the last user message, of which it counts each as a token. Scripts and the journal are told of
in `simulation.py`.
"""

from __future__ import annotations

import binascii
import itertools
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of
from tests.support.simulation import WORDS, Entry, Json, Play, Refused, Script, Simulator, run

MODELS: Mapping[str, frozenset[str]] = {
    "llama-sim:1b": frozenset({"completion", "tools", "vision"}),
    "qwen-sim:1b": frozenset({"completion", "tools", "thinking"}),
    "tiny-sim:1b": frozenset({"completion"}),
}
"""The models, each with what it can do."""

_CONTEXT_LENGTH = 4096
_LEVELS = ("high", "medium", "low", "max")
_NUMBERS = frozenset(
    [
        "num_ctx",
        "num_predict",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "seed",
        "presence_penalty",
        "frequency_penalty",
    ]
)
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "sim",
    "families": ["sim"],
    "parameter_size": "1B",
    "quantization_level": "Q4_K_M",
}


class OllamaSimulator(Simulator):
    """Ollama's API."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.alive),
            web.post("/api/chat", self.answer),
            web.get("/api/tags", self.tags),
            web.post("/api/show", self.show),
            web.get("/api/version", self.version),
        ]

    def headers(self, number: int) -> dict[str, str]:
        return {}

    def check(self, request: web.Request, body: Any) -> None:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            raise _refused(401, "unauthorized")
        if not isinstance(body, dict):
            raise _refused(400, "missing request body")
        name = body.get("model")
        if not name:
            raise _refused(400, "model is required")
        abilities = MODELS.get(_tagged(name))
        if abilities is None:
            raise _refused(404, f"model '{name}' not found")
        _check_abilities(body, abilities)
        _check_options(body.get("options") or {})
        for message in body.get("messages") or []:
            _check_message(message)

    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        return _Answer(request, entry, script, self.headers(entry.number))

    async def alive(self, _: web.Request) -> web.Response:
        """Tells that it is there."""
        return web.Response(text="Ollama is running")

    async def version(self, _: web.Request) -> web.Response:
        """Tells its version."""
        return web.json_response({"version": "0.13.0"})

    async def tags(self, _: web.Request) -> web.Response:
        """Lists the models."""
        models = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-01-01T00:00:00.123456789Z",
                "size": 1_000_000,
                "digest": "0" * 64,
                "details": _DETAILS,
            }
            for name in MODELS
        ]
        return web.json_response({"models": models})

    async def show(self, request: web.Request) -> web.Response:
        """Tells of one model."""
        name = (await request.json()).get("model", "")
        if (abilities := MODELS.get(_tagged(name))) is None:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        model_info = {"general.architecture": "sim", "sim.context_length": 131_072}
        return web.json_response(
            {
                "modelfile": "",
                "parameters": f"num_ctx {_CONTEXT_LENGTH}",
                "template": "",
                "details": _DETAILS,
                "model_info": model_info,
                "capabilities": sorted(abilities),
                "modified_at": "2026-01-01T00:00:00.123456789Z",
            }
        )


class _Answer(Play):
    stream_type = "application/x-ndjson"
    malformed = b'{"model": "half\n'
    comment = b"\n"

    def __init__(self, request: web.Request, entry: Entry, script: Script, headers: dict[str, str]) -> None:
        super().__init__(request, entry, script, headers)
        self._options: Json = self.body.get("options") or {}
        self._moments = itertools.count()
        self._check_length()

    def streams(self) -> bool:
        return self.body.get("stream", True)

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": self._text()}
        if thinking := self._thinking():
            message["thinking"] = thinking
        if calls := self._calls():
            message["tool_calls"] = calls
        return {**self._line(message), **self._logprobs(self._text()), **self._end()}

    def frames(self) -> Iterator[bytes]:
        for word in WORDS.findall(self._thinking()):
            yield _frame(self._line({"role": "assistant", "content": "", "thinking": word}))
        for piece in self.text_pieces(self._text()):
            yield _frame({**self._line({"role": "assistant", "content": piece}), **self._logprobs(piece)})
        for call in self._calls():
            yield _frame(self._line({"role": "assistant", "content": "", "tool_calls": [call]}))

    def last_frame(self) -> bytes:
        return _frame({**self._line({"role": "assistant", "content": ""}), **self._end()})

    def error(self, error: Json | None) -> Json:
        return {"error": "internal server error", **(error or {})}

    def error_frame(self) -> bytes:
        return _frame({"error": "an error was encountered while running the model"})

    def _line(self, message: Json) -> Json:
        moment = f"2026-01-01T00:00:{next(self._moments) % 60:02}.123456789Z"
        return {"model": self.body["model"], "created_at": moment, "message": message, "done": False}

    def _end(self) -> Json:
        """The fields of the end. Counts of zero are left out."""
        counts = self.script.usage
        if counts is None:
            counts = {"prompt_eval_count": self._prompt_tokens(), "eval_count": len(WORDS.findall(self._text())) or 1}
        reason = {} if self.script.how == "no_finish" else {"done_reason": self._done_reason()}
        durations = {"total_duration": 812_345_678, "load_duration": 12_345_678}
        return {"done": True, **reason, **durations, **{name: count for name, count in counts.items() if count}}

    def _done_reason(self) -> str:
        if self.script.finish_reason is not None:
            return self.script.finish_reason
        return "length" if len(WORDS.findall(self._said())) > self._limit() else "stop"

    def _limit(self) -> int:
        limit = self._options.get("num_predict", -1)
        return limit if limit >= 0 else _CONTEXT_LENGTH

    def _text(self) -> str:
        return "".join(WORDS.findall(self._said())[: self._limit()])

    def _said(self) -> str:
        """The text, before it is cut to its limit."""
        script, wanted = self.script, self.body.get("format")
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None:
            return script.text
        if script.tool_calls:
            return ""
        asked = next((said["content"] for said in reversed(self.body["messages"]) if said["role"] == "user"), "")
        if wanted == "json":
            return json.dumps({"echo": asked})
        return json.dumps(instance_of(wanted)) if isinstance(wanted, dict) else asked

    def _thinking(self) -> str:
        return (self.script.reasoning or "") if self.body.get("think", True) is not False else ""

    def _calls(self) -> list[Json]:
        calls: list[Json] = []
        for index, call in enumerate(self.script.tool_calls):
            arguments = call.get("arguments", {})
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
            call_id = call.get("id", f"call_{self.entry.number:04}{index:04}")
            calls.append({"id": call_id, "function": {"index": index, "name": call["name"], "arguments": arguments}})
        return calls

    def _logprobs(self, text: str) -> Json:
        if not self.body.get("logprobs") or not text:
            return {}
        tokens: list[Json] = []
        for word in WORDS.findall(text):
            token = {"token": word, "logprob": -0.1, "bytes": list(word.encode())}
            tokens.append({**token, "top_logprobs": [token] * self.body.get("top_logprobs", 0)})
        return {"logprobs": tokens}

    def _prompt_tokens(self) -> int:
        return sum(len(WORDS.findall(message.get("content") or "")) for message in self.body["messages"])

    def _check_length(self) -> None:
        """Refuses a prompt that is too long, where the caller wants it; otherwise the server drops what is oldest."""
        too_long = self._prompt_tokens() > self._options.get("num_ctx", _CONTEXT_LENGTH)
        if too_long and self.body.get("truncate") is False:
            raise _refused(400, "the input length exceeds the context length")


def _frame(line: Json) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _refused(status: int, message: str) -> Refused:
    return Refused(status, {"error": message})


def _tagged(name: str) -> str:
    return name if ":" in name else f"{name}:1b"


def _check_abilities(body: Json, abilities: frozenset[str]) -> None:
    name, think = body["model"], body.get("think")
    if body.get("tools") and "tools" not in abilities:
        raise _refused(400, f"registry.ollama.ai/library/{name} does not support tools")
    if isinstance(think, str) and think not in _LEVELS:
        raise _refused(400, f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)')
    if think and "thinking" not in abilities:
        raise _refused(400, f'"{name}" does not support thinking')


def _check_options(options: Json) -> None:
    for name in options.keys() & _NUMBERS:
        if not isinstance(options[name], (int, float)):
            raise _refused(400, f'option "{name}" must be of type float32')


def _check_message(message: Json) -> None:
    if message.get("role") not in ("system", "user", "assistant", "tool"):
        raise _refused(400, f"invalid role: {message.get('role')}")
    if not isinstance(message.get("content", ""), str):
        raise _unmarshal("content", "string")
    for image in message.get("images") or []:
        try:
            b64decode(image, validate=True)
        except binascii.Error as error:
            raise _refused(400, "illegal base64 data at input byte 0") from error
    for call in message.get("tool_calls") or []:
        if not isinstance(call["function"].get("arguments"), dict):
            raise _unmarshal("tool_calls.function.arguments", "api.ToolCallFunctionArguments")


def _unmarshal(field: str, kind: str) -> Refused:
    return _refused(
        400, f"json: cannot unmarshal value into Go struct field ChatRequest.messages.{field} of type {kind}"
    )


if __name__ == "__main__":
    run(OllamaSimulator, __doc__)
