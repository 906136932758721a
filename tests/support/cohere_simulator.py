"""Cohere's second chat API as a server of its own: real HTTP, real framing, real refusals, scripted by the test.

`python -m tests.support.cohere_simulator` prints its port and serves until it is told to end. Without a script it
answers with the words of the last user message. Scripts and the journal are told of in `simulation.py`. A script's
text beside tool calls is their plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of
from tests.support.simulation import WORDS, Entry, Json, Play, Refused, Script, Simulator, run

MODELS = ("command-sim", "command-sim-reasoning")
_TEMPLATE_TOKENS = 495
"""What the provider puts around a prompt, in tokens that are not billed."""

_MAX_STOPS = 5


class CohereSimulator(Simulator):
    """Cohere's API."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v2/chat", self.answer), web.get("/v1/models", self.models)]

    def headers(self, number: int) -> dict[str, str]:
        return {"x-debug-trace-id": f"trace-{number}", "num_tokens": "10", "num_chars": "40"}

    def check(self, request: web.Request, body: Any) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise _refused(401, "no api key supplied")
        if self.key and key != self.key:
            raise _refused(401, "invalid api token")
        if not isinstance(body, dict):
            raise _refused(400, "invalid request: could not parse the body")
        if not body.get("model"):
            raise _refused(400, "invalid request: model is required")
        if body["model"] not in MODELS:
            raise _refused(404, f"model '{body['model']}' not found, make sure the correct model ID was used")
        _check_parameters(body)
        _check_messages(body.get("messages") or [])

    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        return _Answer(request, entry, script, self.headers(entry.number))

    async def models(self, _: web.Request) -> web.Response:
        """Lists the models."""
        models = [
            {"name": name, "endpoints": ["chat"], "context_length": 256_000, "is_deprecated": False} for name in MODELS
        ]
        return web.json_response({"models": models})


class _Answer(Play):
    stream_type = "text/event-stream"
    malformed = b'event: content-delta\ndata: {"type": "half\n\n'

    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    def whole(self) -> Json:
        text, calls = self._text(), self._calls()
        content: list[Json] = []
        if thinking := self._thinking():
            content.append({"type": "thinking", "thinking": thinking})
        message: Json = {"role": "assistant"}
        if calls:
            message["tool_calls"] = calls
            if text:
                message["tool_plan"] = text
        elif text:
            content.append({"type": "text", "text": text})
        if content:
            message["content"] = content
        answer: Json = {"id": self._id(), "message": message, "finish_reason": self._reason(), "usage": self._usage()}
        if self.body.get("logprobs"):
            answer["logprobs"] = [_logprobs(word) for word in WORDS.findall(text)]
        return answer

    def frames(self) -> Iterator[bytes]:
        empty: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        yield _frame("message-start", {"id": self._id(), "delta": {"message": empty}})
        calls, index = self._calls(), 0
        if thinking := self._thinking():
            yield from self._block(index, "thinking", WORDS.findall(thinking))
            index += 1
        if calls:
            for piece in self.text_pieces(self._text()):
                yield _frame("tool-plan-delta", {"delta": {"message": {"tool_plan": piece}}})
        elif self._text():
            yield from self._block(index, "text", self.text_pieces(self._text()))
        for number, call in enumerate(calls):
            yield from _call_frames(number, call)

    def last_frame(self) -> bytes:
        end: Json = {"usage": self._usage()}
        if self.script.how != "no_finish":
            end["finish_reason"] = self._reason()
        return _frame("message-end", {"delta": end}) + b"data: [DONE]\n\n"

    def error(self, error: Json | None) -> Json:
        return {"id": self._id(), "message": "internal server error", **(error or {})}

    def error_frame(self) -> bytes:
        return _frame("message-end", {"delta": {"finish_reason": "ERROR", "error": "the model went away"}})

    def _block(self, index: int, kind: str, pieces: list[str]) -> Iterator[bytes]:
        begun = {"message": {"content": {"type": kind, kind: ""}}}
        yield _frame("content-start", {"index": index, "delta": begun})
        for piece in pieces:
            event: Json = {"index": index, "delta": {"message": {"content": {kind: piece}}}}
            if self.body.get("logprobs") and kind == "text":
                event["logprobs"] = _logprobs(piece)
            yield _frame("content-delta", event)
        yield _frame("content-end", {"index": index})

    def _id(self) -> str:
        return f"00000000-0000-4000-8000-{self.entry.number:012}"

    def _text(self) -> str:
        script, wanted = self.script, self.body.get("response_format") or {}
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None or self._calls():
            return script.text or ""
        asked = next(
            (message["content"] for message in reversed(self.body["messages"]) if message["role"] == "user"), ""
        )
        asked = asked if isinstance(asked, str) else "".join(part.get("text", "") for part in asked)
        if wanted.get("type") != "json_object":
            return asked
        schema = wanted.get("json_schema")
        return json.dumps(instance_of(schema) if schema else {"echo": asked})

    def _thinking(self) -> str:
        wanted = (self.body.get("thinking") or {}).get("type", "enabled")
        return (self.script.reasoning or "") if wanted == "enabled" else ""

    def _calls(self) -> list[Json]:
        calls: list[Json] = []
        for index, call in enumerate(self.script.tool_calls or self._forced_calls()):
            arguments = call.get("arguments", {})
            arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
            call_id = call.get("id", f"{call['name']}_{self.entry.number:06}{index:06}")
            function = {"name": call["name"], "arguments": arguments}
            calls.append({"id": call_id, "type": "function", "function": function})
        return calls

    def _forced_calls(self) -> list[Json]:
        if self.body.get("tool_choice") != "REQUIRED" or self.script.text is not None:
            return []
        function = self.body["tools"][0]["function"]
        return [{"name": function["name"], "arguments": instance_of(function.get("parameters", {}))}]

    def _reason(self) -> str:
        return self.script.finish_reason or ("TOOL_CALL" if self._calls() else "COMPLETE")

    def _usage(self) -> Json:
        if self.script.usage is not None:
            return self.script.usage
        prompt = len(json.dumps(self.body["messages"]).split())
        answered = len(WORDS.findall(self._text())) + 5 * len(self._calls())
        tokens = {"input_tokens": prompt + _TEMPLATE_TOKENS, "output_tokens": answered}
        billed = {"input_tokens": prompt, "output_tokens": answered}
        return {"billed_units": billed, "tokens": tokens, "cached_tokens": 448}


def _call_frames(index: int, call: Json) -> Iterator[bytes]:
    begun = {**call, "function": {**call["function"], "arguments": ""}}
    yield _frame("tool-call-start", {"index": index, "delta": {"message": {"tool_calls": begun}}})
    arguments = call["function"]["arguments"]
    for at in range(0, len(arguments), 5):
        fragment = {"tool_calls": {"function": {"arguments": arguments[at : at + 5]}}}
        yield _frame("tool-call-delta", {"index": index, "delta": {"message": fragment}})
    yield _frame("tool-call-end", {"index": index})


def _frame(kind: str, fields: Json) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _logprobs(text: str) -> Json:
    return {"text": text, "token_ids": [1, 2], "logprobs": [-0.1, -0.2]}


def _refused(status: int, message: str) -> Refused:
    return Refused(status, {"id": "00000000-0000-4000-8000-000000000000", "message": message})


def _check_parameters(body: Json) -> None:
    if len(body.get("stop_sequences") or []) > _MAX_STOPS:
        raise _refused(400, f"invalid request: at most {_MAX_STOPS} stop_sequences are allowed")
    for name in ("frequency_penalty", "presence_penalty"):
        if not 0 <= body.get(name, 0) <= 1:
            raise _refused(400, f"invalid request: {name} must be between 0 and 1")
    if (body.get("response_format") or {}).get("type") == "json_object" and body.get("tools"):
        raise _refused(400, "invalid request: response_format is not supported with tools")
    if body.get("tool_choice") not in (None, "REQUIRED", "NONE"):
        raise _refused(422, f"invalid tool_choice: {body['tool_choice']}")
    if body.get("tool_choice") and not body.get("tools"):
        raise _refused(400, "invalid request: tool_choice needs tools")


def _check_messages(messages: list[Json]) -> None:
    if not messages:
        raise _refused(400, "invalid request: messages must not be empty")
    called: set[str] = set()
    for message in messages:
        role = message.get("role")
        if role not in ("system", "user", "assistant", "tool"):
            raise _refused(400, f"invalid request: unknown role {role}")
        if not (message.get("content") or message.get("tool_calls")):
            raise _refused(400, f"invalid request: the content of a {role} message must not be empty")
        if role == "tool" and message.get("tool_call_id") not in called:
            raise _refused(400, f"invalid request: tool call id {message.get('tool_call_id')} not found in messages")
        for call in message.get("tool_calls") or []:
            if not isinstance(call["function"]["arguments"], str):
                raise _refused(400, "invalid request: arguments must be a string")
            called.add(call["id"])


if __name__ == "__main__":
    run(CohereSimulator, __doc__)
