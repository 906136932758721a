"""OpenAI's chat completions as a server of its own: real HTTP, real framing, real refusals, scripted by the test.

`python -m tests.support.openai_simulator` prints its port and serves until it is told to end. Without a script it
answers with the words of the last user message. A request is played by the first of these: the script in its
`x-sim-script` header, the one in its `x_sim_script` field, the next one that `POST /sim/scripts` queued, the one that
`PUT /sim/script` set. `GET /sim/journal` tells which requests came, how much each was sent, and when the other side
closed the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import re
import socket
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of

Json = dict[str, Any]

MODELS = ("gpt-sim", "gpt-sim-mini", "o1-sim")
_FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "modalities",
        "audio",
        "prediction",
        "service_tier",
        "store",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "web_search_options",
        "x_sim_script",
    ]
)
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CREATED = 1_760_000_000
_WORDS = re.compile(r"\S+\s*|\s+")


@dataclass
class Script:
    """What to do with one request."""

    text: str | None = None
    chunks: list[str] | None = None
    """The pieces of a streamed text. Left out: a word each."""
    tool_calls: list[Json] = field(default_factory=list)
    """Each `{name, arguments, id?}`, arguments as text or as JSON."""
    refusal: str | None = None
    reasoning: str | None = None
    usage: Json | None = None
    finish_reason: str | None = None
    first_ms: float = 0
    delay_ms: float = 0
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    error: Json | None = None
    body: str | None = None
    """The body of the answer as it is, in the place of any other."""
    content_type: str | None = None
    gzip: bool = False
    comments: bool = False
    """A comment before each frame."""
    malformed_at: list[int] = field(default_factory=list)
    """Chunks before which a malformed frame is sent."""
    break_at: int | None = None
    """The chunk before which a stream breaks. 0 breaks before the headers, as any number does a whole answer."""
    how: str = "close"
    """`close`, `reset`, `hang` or `error` (a frame, then the end); at the end of a stream `no_done` or `no_finish`."""


@dataclass
class Entry:
    """What became of one request."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    received_at: float
    """Seconds since the Unix epoch, as the other moments."""
    chunks_sent: int = 0
    done: bool = False
    closed_at: float | None = None
    """When the other side closed the connection before all was sent."""


class Refused(Exception):
    """The request is refused as OpenAI refuses it."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        kind = "invalid_request_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Simulator:
    """Holds scripts and the journal."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._default = Script()
        self._queue: deque[Script] = deque()
        self._journal: list[Entry] = []
        self._numbers = itertools.count(1)

    def application(self) -> web.Application:
        """The application that serves it."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.get("/v1/models", self.models),
                web.get("/v1/models/{model}", self.model),
                web.put("/sim/script", self.set_script),
                web.post("/sim/scripts", self.queue_scripts),
                web.get("/sim/journal", self.journal),
                web.delete("/sim/journal", self.clear),
            ]
        )
        return application

    async def set_script(self, request: web.Request) -> web.Response:
        """Sets the script of every request without one of its own."""
        self._default = Script(**await request.json())
        return web.json_response({})

    async def queue_scripts(self, request: web.Request) -> web.Response:
        """Queues scripts, one a request."""
        self._queue.extend(Script(**script) for script in await request.json())
        return web.json_response({})

    async def journal(self, _: web.Request) -> web.Response:
        """Tells what became of every request."""
        return web.json_response([asdict(entry) for entry in self._journal])

    async def clear(self, _: web.Request) -> web.Response:
        """Forgets requests and scripts."""
        self._journal.clear()
        self._queue.clear()
        self._default = Script()
        return web.json_response({})

    async def models(self, request: web.Request) -> web.Response:
        """Lists the models."""
        try:
            self._authorize(request)
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        return web.json_response({"object": "list", "data": [_model(name) for name in MODELS]})

    async def model(self, request: web.Request) -> web.Response:
        """Tells of one model."""
        name = request.match_info["model"]
        if name in MODELS:
            return web.json_response(_model(name))
        return web.json_response(_no_model(name).body, status=404)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answers a conversation."""
        entry = await self._enter(request)
        number = entry.number
        common = {"x-request-id": f"req_sim_{number}", "openai-version": "2020-10-01", "openai-processing-ms": "1"}
        try:
            self._authorize(request)
            _check(entry.body)
            script = self._script(request, entry.body)
            return await _Play(request, entry, script, common).run()
        except Refused as refused:
            entry.done = True
            return web.json_response(refused.body, status=refused.status, headers=common)
        except (asyncio.CancelledError, ConnectionError):
            entry.closed_at = time.time()
            raise

    async def _enter(self, request: web.Request) -> Entry:
        raw = await request.read()
        try:
            body: Any = json.loads(raw)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = Entry(next(self._numbers), request.method, request.path, headers, body, time.time())
        self._journal.append(entry)
        return entry

    def _authorize(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise Refused(401, "You didn't provide an API key.", code="invalid_api_key")
        if self._key and key != self._key:
            shown = f"{key[:3]}***{key[-4:]}"
            raise Refused(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")

    def _script(self, request: web.Request, body: Json) -> Script:
        if header := request.headers.get("x-sim-script"):
            return Script(**json.loads(header))
        if own := body.get("x_sim_script"):
            return Script(**own)
        return self._queue.popleft() if self._queue else self._default


class _Play:
    """Plays one script for one request."""

    def __init__(self, request: web.Request, entry: Entry, script: Script, headers: dict[str, str]) -> None:
        self._request = request
        self._entry = entry
        self._script = script
        self._headers = {**headers, **script.headers}
        self._body: Json = entry.body
        self._id = f"chatcmpl-sim-{entry.number}"

    async def run(self) -> web.StreamResponse:
        script = self._script
        await asyncio.sleep(script.first_ms / 1000)
        if script.break_at == 0 or (script.break_at is not None and not self._body.get("stream")):
            await self._break()
        if script.body is not None or script.status != 200 or script.error is not None:
            return self._fixed()
        if self._body.get("stream"):
            return await self._stream()
        return self._whole()

    def _fixed(self) -> web.Response:
        """An answer that the script spells out."""
        script = self._script
        self._entry.done = True
        text = script.body if script.body is not None else json.dumps({"error": script.error or {"message": "No."}})
        return self._response(text, script.content_type or "application/json")

    def _whole(self) -> web.Response:
        message: Json = {"role": "assistant", "content": self._text(), "refusal": self._script.refusal}
        if self._script.reasoning:
            message["reasoning_content"] = self._script.reasoning
        if calls := self._calls():
            message["content"] = message["content"] or None
            message["tool_calls"] = calls
        choice: Json = {"index": 0, "message": message, "finish_reason": self._finish_reason()}
        choice["logprobs"] = self._logprobs(self._text()) if self._text() else None
        answer = {**self._common("chat.completion"), "choices": [choice], "usage": self._usage()}
        self._entry.done = True
        return self._response(json.dumps(answer), self._script.content_type or "application/json")

    def _response(self, text: str, content_type: str) -> web.Response:
        data = text.encode()
        headers = {**self._headers, "content-type": content_type}
        if self._script.gzip:
            data = gzip.compress(data)
            headers["content-encoding"] = "gzip"
        return web.Response(body=data, status=self._script.status, headers=headers)

    async def _stream(self) -> web.StreamResponse:
        script = self._script
        headers = {**self._headers, "content-type": script.content_type or "text/event-stream; charset=utf-8"}
        if script.gzip:
            headers["content-encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        await response.prepare(self._request)
        pack = _Gzip() if script.gzip else bytes
        for number, chunk in enumerate(self._chunks(), start=1):
            if script.break_at == number:
                await self._break(response)
                return response
            if number in script.malformed_at:
                await response.write(pack(b'data: {"id": "chatcmpl\n\n'))
            if script.comments:
                await response.write(pack(b": keep-alive\n\n"))
            await response.write(pack(b"data: " + json.dumps(chunk).encode() + b"\n\n"))
            self._entry.chunks_sent += 1
            if script.delay_ms:
                await asyncio.sleep(script.delay_ms / 1000)
        if script.how != "no_done":
            await response.write(pack(b"data: [DONE]\n\n"))
        if isinstance(pack, _Gzip):
            await response.write(pack.end())
        await response.write_eof()
        self._entry.done = True
        return response

    async def _break(self, response: web.StreamResponse | None = None) -> None:
        how = self._script.how
        if how == "hang":
            await asyncio.Event().wait()
        if how == "error" and response is not None:
            error = {
                "error": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
            }
            await response.write(b"data: " + json.dumps(error).encode() + b"\n\n")
            await response.write_eof()
            return
        transport = self._request.transport
        assert transport is not None
        if how == "reset":
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        transport.close()

    def _chunks(self) -> Iterator[Json]:
        common = self._common("chat.completion.chunk")
        wants_usage = (self._body.get("stream_options") or {}).get("include_usage")
        if wants_usage:
            common["usage"] = None
        yield self._chunk(common, {"role": "assistant", "content": "", "refusal": None})
        for word in _WORDS.findall(self._script.reasoning or ""):
            yield self._chunk(common, {"reasoning_content": word})
        for piece in self._pieces():
            yield self._chunk(common, {"content": piece}, logprobs=self._logprobs(piece))
        for word in _WORDS.findall(self._script.refusal or ""):
            yield self._chunk(common, {"refusal": word})
        for index, call in enumerate(self._calls()):
            begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            yield self._chunk(common, {"tool_calls": [begun]})
            arguments = call["function"]["arguments"]
            for at in range(0, len(arguments), 5):
                fragment = {"index": index, "function": {"arguments": arguments[at : at + 5]}}
                yield self._chunk(common, {"tool_calls": [fragment]})
        if self._script.how != "no_finish":
            yield self._chunk(common, {}, finish_reason=self._finish_reason())
        if wants_usage:
            yield {**common, "choices": [], "usage": self._usage()}

    def _chunk(
        self, common: Json, delta: Json, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**common, "choices": [choice], "obfuscation": "x" * (self._entry.chunks_sent % 7)}

    def _common(self, kind: str) -> Json:
        return {
            "id": self._id,
            "object": kind,
            "created": _CREATED,
            "model": f"{self._body['model']}-2026-01-01",
            "service_tier": "default",
            "system_fingerprint": "fp_sim",
        }

    def _text(self) -> str | None:
        script = self._script
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None:
            return script.text
        if script.refusal or self._calls():
            return None
        wanted = self._body.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return json.dumps(instance_of(wanted["json_schema"]["schema"]))
        if wanted.get("type") == "json_object":
            return json.dumps({"echo": self._said()})
        return self._said()

    def _pieces(self) -> list[str]:
        return self._script.chunks if self._script.chunks is not None else _WORDS.findall(self._text() or "")

    def _said(self) -> str:
        """The text of the last user message."""
        for message in reversed(self._body["messages"]):
            if message["role"] == "user":
                content = message["content"]
                return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        return ""

    def _calls(self) -> list[Json]:
        calls = self._script.tool_calls or self._forced_calls()
        return [
            {
                "id": call.get("id", f"call_sim_{self._entry.number}_{index}"),
                "type": "function",
                "function": {"name": call["name"], "arguments": _as_text(call.get("arguments", {}))},
            }
            for index, call in enumerate(calls)
        ]

    def _forced_calls(self) -> list[Json]:
        choice, tools = self._body.get("tool_choice"), self._body.get("tools") or []
        if self._script.text is not None or not tools or choice in (None, "auto", "none"):
            return []
        name = choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else ""
        functions = [tool["function"] for tool in tools if tool["type"] == "function"]
        function = next(function for function in functions if not name or function["name"] == name)
        return [{"name": function["name"], "arguments": instance_of(function.get("parameters", {}))}]

    def _finish_reason(self) -> str:
        return self._script.finish_reason or ("tool_calls" if self._calls() else "stop")

    def _usage(self) -> Json:
        if self._script.usage is not None:
            return self._script.usage
        prompt = len(json.dumps(self._body["messages"]).split())
        answered = len(_WORDS.findall(self._text() or "")) + 5 * len(self._calls())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answered,
            "total_tokens": prompt + answered,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    def _logprobs(self, text: str | None) -> Json | None:
        if not self._body.get("logprobs") or not text:
            return None
        most = self._body.get("top_logprobs") or 0
        tokens: list[Json] = []
        for word in _WORDS.findall(text):
            token = {"token": word, "bytes": list(word.encode()), "logprob": -0.1}
            tokens.append({**token, "top_logprobs": [token] * most})
        return {"content": tokens, "refusal": None}


class _Gzip:
    """Compresses frames, each so that it can be read when it comes."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def __call__(self, frame: bytes) -> bytes:
        return self._compress.compress(frame) + self._compress.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The last bytes."""
        return self._compress.flush()


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


def _no_model(name: str) -> Refused:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Refused(404, message, code="model_not_found")


def _check(body: Any) -> None:
    """Refuses what OpenAI refuses."""
    if not isinstance(body, dict):
        raise Refused(400, "We could not parse the JSON body of your request.")
    for name in body:
        if name not in _FIELDS:
            raise Refused(400, f"Unrecognized request argument supplied: {name}", code="unknown_parameter", param=name)
    model = body.get("model")
    if not model:
        raise Refused(400, "you must provide a model parameter", param="model")
    if model not in MODELS:
        raise _no_model(model)
    if model.startswith("o1") and "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model."
        raise Refused(400, message, code="unsupported_parameter", param="max_tokens")
    _check_messages(body.get("messages"))
    if (body.get("response_format") or {}).get("type") == "json_object" and "json" not in json.dumps(
        body["messages"]
    ).lower():
        raise Refused(400, "'messages' must contain the word 'json' in some form.", param="messages")
    if body.get("tool_choice") and not body.get("tools"):
        raise Refused(400, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "Invalid 'messages': expected an array with items.", param="messages")
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in _ROLES:
            raise Refused(400, f"Invalid value: '{role}'.", code="invalid_value", param=f"messages[{index}].role")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                text = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise Refused(400, text, param=f"messages[{index}].role")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            text = f"An assistant message with 'tool_calls' must be followed by tool messages: {sorted(open_calls)}"
            raise Refused(400, text, param="messages")
        for call in message.get("tool_calls") or []:
            if not isinstance(call["function"]["arguments"], str):
                raise Refused(400, "arguments must be a string", code="invalid_type", param=f"messages[{index}]")
            open_calls.add(call["id"])


async def _serve(port: int, key: str) -> None:
    runner = web.AppRunner(Simulator(key).application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - whoever started it reads the port
    await asyncio.Event().wait()


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 means any free port")
    parser.add_argument("--key", default="", help="the only key that is taken; any is, when it is left out")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.key))


if __name__ == "__main__":
    main()
