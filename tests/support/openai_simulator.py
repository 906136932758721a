"""OpenAI's API as a server of its own: real HTTP, real framing, real refusals, scripted by the test.

`python -m tests.support.openai_simulator` prints its port and serves until it is told to end. Without a script it
answers with the words of the last user message. How it is scripted is told in `simulation.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of
from tests.support.openai_simulated_operations import PATHS, OperationPlay, fault, read_form
from tests.support.simulation import WORDS, Entry, Json, Play, Refused, Script, Simulator, run

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


class OpenAISimulator(Simulator):
    """The API."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.answer),
            *(web.post(path, self.answer) for path in PATHS),
            web.get("/v1/models", self._models),
            web.get("/v1/models/{model}", self._model),
        ]

    def headers(self, number: int) -> dict[str, str]:
        return {"x-request-id": f"req_sim_{number}", "openai-version": "2020-10-01", "openai-processing-ms": "1"}

    def check(self, request: web.Request, body: Any) -> None:
        self._authorize(request)
        if request.path not in PATHS:
            _check(body)
        elif found := fault(request.path, body):
            raise _refused(400, found[1], param=found[0])

    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        play = OperationPlay if request.path in PATHS else _ChatPlay
        return play(request, entry, script, self.headers(entry.number))

    async def _enter(self, request: web.Request) -> Entry:
        entry = await super()._enter(request)
        if request.content_type == "multipart/form-data":
            entry.body = read_form(request.headers["content-type"], await request.read())
        return entry

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._authorize(request)
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        return web.json_response({"object": "list", "data": [_model(name) for name in MODELS]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        if name in MODELS:
            return web.json_response(_model(name))
        return web.json_response(_no_model(name).body, status=404)

    def _authorize(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise _refused(401, "You didn't provide an API key.", code="invalid_api_key")
        if self.key and key != self.key:
            shown = f"{key[:3]}***{key[-4:]}"
            raise _refused(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


class _ChatPlay(Play):
    """Answers a conversation."""

    @property
    def _id(self) -> str:
        return f"chatcmpl-sim-{self.entry.number}"

    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    def error(self, error: Json | None) -> Json:
        return {"error": error or {"message": "No."}}

    def error_frame(self) -> bytes:
        error = {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        return _frame({"error": error})

    def last_frame(self) -> bytes:
        return b"data: [DONE]\n\n"

    def frames(self) -> Iterator[bytes]:
        return map(_frame, self._chunks())

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": self._text(), "refusal": self.script.refusal}
        if self.script.reasoning:
            message["reasoning_content"] = self.script.reasoning
        if calls := self._calls():
            message["content"] = message["content"] or None
            message["tool_calls"] = calls
        choice: Json = {"index": 0, "message": message, "finish_reason": self._finish_reason()}
        choice["logprobs"] = self._logprobs(self._text()) if self._text() else None
        return {**self._common("chat.completion"), "choices": [choice], "usage": self._usage()}

    def _chunks(self) -> Iterator[Json]:
        common = self._common("chat.completion.chunk")
        wants_usage = (self.body.get("stream_options") or {}).get("include_usage")
        if wants_usage:
            common["usage"] = None
        yield self._chunk(common, {"role": "assistant", "content": "", "refusal": None})
        for word in WORDS.findall(self.script.reasoning or ""):
            yield self._chunk(common, {"reasoning_content": word})
        for piece in self.text_pieces(self._text() or ""):
            yield self._chunk(common, {"content": piece}, logprobs=self._logprobs(piece))
        for word in WORDS.findall(self.script.refusal or ""):
            yield self._chunk(common, {"refusal": word})
        for index, call in enumerate(self._calls()):
            begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            yield self._chunk(common, {"tool_calls": [begun]})
            arguments = call["function"]["arguments"]
            for at in range(0, len(arguments), 5):
                fragment = {"index": index, "function": {"arguments": arguments[at : at + 5]}}
                yield self._chunk(common, {"tool_calls": [fragment]})
        if self.script.how != "no_finish":
            yield self._chunk(common, {}, finish_reason=self._finish_reason())
        if wants_usage:
            yield {**common, "choices": [], "usage": self._usage()}

    def _chunk(
        self, common: Json, delta: Json, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**common, "choices": [choice], "obfuscation": "x" * (self.entry.chunks_sent % 7)}

    def _common(self, kind: str) -> Json:
        return {
            "id": self._id,
            "object": kind,
            "created": _CREATED,
            "model": f"{self.body['model']}-2026-01-01",
            "service_tier": "default",
            "system_fingerprint": "fp_sim",
        }

    def _text(self) -> str | None:
        script = self.script
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None:
            return script.text
        if script.refusal or self._calls():
            return None
        wanted = self.body.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return json.dumps(instance_of(wanted["json_schema"]["schema"]))
        if wanted.get("type") == "json_object":
            return json.dumps({"echo": self._said()})
        return self._said()

    def _said(self) -> str:
        """The text of the last user message."""
        for message in reversed(self.body["messages"]):
            if message["role"] == "user":
                content = message["content"]
                return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        return ""

    def _calls(self) -> list[Json]:
        calls = self.script.tool_calls or self._forced_calls()
        return [
            {
                "id": call.get("id", f"call_sim_{self.entry.number}_{index}"),
                "type": "function",
                "function": {"name": call["name"], "arguments": _as_text(call.get("arguments", {}))},
            }
            for index, call in enumerate(calls)
        ]

    def _forced_calls(self) -> list[Json]:
        choice, tools = self.body.get("tool_choice"), self.body.get("tools") or []
        if self.script.text is not None or not tools or choice in (None, "auto", "none"):
            return []
        name = choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else ""
        functions = [tool["function"] for tool in tools if tool["type"] == "function"]
        function = next(function for function in functions if not name or function["name"] == name)
        return [{"name": function["name"], "arguments": instance_of(function.get("parameters", {}))}]

    def _finish_reason(self) -> str:
        return self.script.finish_reason or ("tool_calls" if self._calls() else "stop")

    def _usage(self) -> Json:
        if self.script.usage is not None:
            return self.script.usage
        prompt = len(json.dumps(self.body["messages"]).split())
        answered = len(WORDS.findall(self._text() or "")) + 5 * len(self._calls())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answered,
            "total_tokens": prompt + answered,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    def _logprobs(self, text: str | None) -> Json | None:
        if not self.body.get("logprobs") or not text:
            return None
        most = self.body.get("top_logprobs") or 0
        tokens: list[Json] = []
        for word in WORDS.findall(text):
            token = {"token": word, "bytes": list(word.encode()), "logprob": -0.1}
            tokens.append({**token, "top_logprobs": [token] * most})
        return {"content": tokens, "refusal": None}


def _frame(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _refused(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Refused:
    kind = "invalid_request_error"
    return Refused(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "simulator"}


def _no_model(name: str) -> Refused:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return _refused(404, message, code="model_not_found")


def _check(body: Any) -> None:
    """Refuses what OpenAI refuses."""
    if not isinstance(body, dict):
        raise _refused(400, "We could not parse the JSON body of your request.")
    for name in body:
        if name not in _FIELDS:
            raise _refused(400, f"Unrecognized request argument supplied: {name}", code="unknown_parameter", param=name)
    model = body.get("model")
    if not model:
        raise _refused(400, "you must provide a model parameter", param="model")
    if model not in MODELS:
        raise _no_model(model)
    if model.startswith("o1") and "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model."
        raise _refused(400, message, code="unsupported_parameter", param="max_tokens")
    _check_messages(body.get("messages"))
    if (body.get("response_format") or {}).get("type") == "json_object" and "json" not in json.dumps(
        body["messages"]
    ).lower():
        raise _refused(400, "'messages' must contain the word 'json' in some form.", param="messages")
    if body.get("tool_choice") and not body.get("tools"):
        raise _refused(400, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise _refused(400, "Invalid 'messages': expected an array with items.", param="messages")
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in _ROLES:
            raise _refused(400, f"Invalid value: '{role}'.", code="invalid_value", param=f"messages[{index}].role")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                text = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise _refused(400, text, param=f"messages[{index}].role")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            text = f"An assistant message with 'tool_calls' must be followed by tool messages: {sorted(open_calls)}"
            raise _refused(400, text, param="messages")
        for call in message.get("tool_calls") or []:
            if not isinstance(call["function"]["arguments"], str):
                raise _refused(400, "arguments must be a string", code="invalid_type", param=f"messages[{index}]")
            open_calls.add(call["id"])


if __name__ == "__main__":
    run(OpenAISimulator, __doc__)
