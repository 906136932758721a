"""Anthropic's Messages as a server of its own: real HTTP, real framing, real refusals, scripted by the test.

`python -m tests.support.anthropic_simulator` prints its port and serves until it is told to end. Without a script it
answers with the words of the last user message. A script's `reasoning` is signed, and what is signed here must come
back unchanged. How it is scripted otherwise is told in `simulation.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from llmgateway_server.providers.schema_instance import instance_of
from tests.support.simulation import WORDS, Entry, Json, Play, Refused, Script, Simulator, run

SONNET, OPUS, HAIKU = MODELS = ("claude-sonnet-4-5-sim", "claude-opus-4-7-sim", "claude-3-5-haiku-sim")
"""One model of each manner. The names are nobody's, since the SDK warns of models that are to be withdrawn."""

_VERSIONS = ("2023-06-01", "2026-10-21")
_FIELDS = frozenset(
    [
        "model",
        "max_tokens",
        "messages",
        "system",
        "stop_sequences",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "cache_control",
        "metadata",
        "service_tier",
        "container",
        "inference_geo",
        "x_sim_script",
    ]
)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_MARKS = 4
_MIN_BUDGET = 1024


class AnthropicSimulator(Simulator):
    """The API."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages", self.answer),
            web.post("/v1/messages/count_tokens", self._count_tokens),
            web.get("/v1/models", self._models),
        ]

    def headers(self, number: int) -> dict[str, str]:
        return {"request-id": f"req_sim_{number}", "anthropic-organization-id": "org_sim"}

    def check(self, request: web.Request, body: Any) -> None:
        self._authorize(request)
        _check(body)

    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        return _MessagePlay(request, entry, script, self.headers(entry.number))

    async def _count_tokens(self, request: web.Request) -> web.Response:
        return web.json_response({"input_tokens": _words_of(await request.json())})

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._authorize(request)
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in MODELS
        ]
        return web.json_response({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})

    def _authorize(self, request: web.Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key") or bearer
        if not key or (self.key and key != self.key):
            raise _refused(401, "authentication_error", "invalid x-api-key")
        if request.headers.get("anthropic-version") not in _VERSIONS:
            raise _invalid("anthropic-version: header is required")


class _MessagePlay(Play):
    """Answers a conversation."""

    malformed = b'event: content_block_delta\ndata: {"type":"content_bl\n\n'

    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    def error(self, error: Json | None) -> Json:
        return {
            "type": "error",
            "error": {"type": "api_error", "message": "Internal server error", **(error or {})},
            "request_id": f"req_sim_{self.entry.number}",
        }

    def error_frame(self) -> bytes:
        return _frame("error", **self.error({"type": "overloaded_error", "message": "Overloaded"}))

    def last_frame(self) -> bytes:
        return _frame("message_stop")

    def whole(self) -> Json:
        return {**self._message(), "content": self._blocks(), **self._end(), "usage": self._usage()}

    def frames(self) -> Iterator[bytes]:
        begun = {**self._usage(), "output_tokens": 1}
        message = {**self._message(), "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
        yield _frame("message_start", message=message)
        for index, block in enumerate(self._blocks()):
            empty, deltas = self._pieces(block)
            yield _frame("content_block_start", index=index, content_block=empty)
            if index == 0:
                yield _frame("ping")
            for delta in deltas:
                yield _frame("content_block_delta", index=index, delta=delta)
            yield _frame("content_block_stop", index=index)
        if self.script.how != "no_finish":
            yield _frame("message_delta", delta=self._end(), usage=self._usage())

    def _pieces(self, block: Json) -> tuple[Json, list[Json]]:
        """A block as it begins, and the deltas that complete it."""
        kind = block["type"]
        if kind == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in self.text_pieces(block["text"])]
            return {**block, "text": ""}, deltas
        if kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": word} for word in WORDS.findall(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        if kind == "tool_use":
            text = json.dumps(block["input"])
            pieces = ["", *(text[at : at + 5] for at in range(0, len(text), 5))]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return block, []

    def _message(self) -> Json:
        model = f"{self.body['model']}-20260101"
        return {"id": f"msg_sim_{self.entry.number}", "type": "message", "role": "assistant", "model": model}

    def _blocks(self) -> list[Json]:
        script = self.script
        blocks: list[Json] = []
        if script.reasoning is not None and self.body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
            signature = script.signature or _signature(script.reasoning)
            blocks.append({"type": "thinking", "thinking": script.reasoning, "signature": signature})
        calls = script.tool_calls or self._forced_calls()
        if text := self._text(calls):
            blocks.append({"type": "text", "text": text, "citations": None})
        for index, call in enumerate(calls):
            blocks.append(
                {
                    "type": "tool_use",
                    "id": call.get("id", f"toolu_sim_{self.entry.number}_{index}"),
                    "name": call["name"],
                    "input": call.get("arguments", {}),
                    "caller": {"type": "direct"},
                }
            )
        return blocks

    def _text(self, calls: list[Json]) -> str:
        script = self.script
        if script.chunks is not None:
            return "".join(script.chunks)
        if script.text is not None:
            return script.text
        if calls or script.refusal is not None:
            return ""
        wanted = (self.body.get("output_config") or {}).get("format")
        return json.dumps(instance_of(wanted["schema"])) if wanted else self._said()

    def _said(self) -> str:
        """The text of the last turn of the user."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)

    def _forced_calls(self) -> list[Json]:
        choice = self.body.get("tool_choice") or {}
        if self.script.text is not None or choice.get("type") not in ("any", "tool"):
            return []
        tool = next(tool for tool in self.body["tools"] if choice.get("name") in (None, tool["name"]))
        return [{"name": tool["name"], "arguments": instance_of(tool["input_schema"])}]

    def _end(self) -> Json:
        called = bool(self.script.tool_calls or self._forced_calls())
        reason = "refusal" if self.script.refusal is not None else "tool_use" if called else "end_turn"
        end: Json = {"stop_reason": self.script.finish_reason or reason, "stop_sequence": None}
        if self.script.refusal is not None:
            end["stop_details"] = {"type": "refusal", "category": None, "explanation": self.script.refusal}
        return end

    def _usage(self) -> Json:
        if self.script.usage is not None:
            return self.script.usage
        answered = sum(_words_of(block) for block in self._blocks())
        return {
            "input_tokens": _words_of(self.body["messages"]),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": answered,
            "service_tier": "standard",
        }


def _frame(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    # The API pads what it sends with blanks.
    return f"event: {kind}\ndata: {data[:-1]}{' ' * (len(data) % 7)}}}\n\n".encode()


def _signature(thinking: str) -> str:
    return hashlib.sha256(thinking.encode()).hexdigest()


def _words_of(value: Any) -> int:
    return len(json.dumps(value).split())


def _refused(status: int, kind: str, message: str) -> Refused:
    return Refused(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"})


def _invalid(message: str) -> Refused:
    return _refused(400, "invalid_request_error", message)


def _check(body: Any) -> None:
    """Refuses what Anthropic refuses."""
    if not isinstance(body, dict):
        raise _invalid("The request body is not valid JSON")
    for name in body:
        if name not in _FIELDS:
            raise _invalid(f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise _invalid(f"{name}: Field required")
    if body["model"] not in MODELS:
        raise _refused(404, "not_found_error", f"model: {body['model']}")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise _invalid("temperature: range: 0..1")
    if len(_marks_in(body)) > _MAX_MARKS:
        raise _invalid("A maximum of 4 blocks with cache_control may be provided.")
    _check_model(body)
    _check_thinking(body)
    _check_tools(body)
    _check_turns(body["messages"], thinks=body.get("thinking", {}).get("type") == "enabled")


def _check_model(body: Json) -> None:
    """Refuses what the generation of the model does not take."""
    model = body["model"]
    if model == OPUS:
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                raise _invalid(f"{name}: is not supported by this model")
        if body["messages"] and body["messages"][-1]["role"] == "assistant":
            raise _invalid("This model does not support assistant message prefill.")
    elif "temperature" in body and "top_p" in body and model == SONNET:
        raise _invalid("temperature and top_p cannot both be specified for this model.")
    if model == HAIKU and "output_config" in body:
        raise _invalid("output_config: is not supported by this model")


def _check_thinking(body: Json) -> None:
    thinking = body.get("thinking", {})
    kind = thinking.get("type", "disabled")
    if kind == "disabled":
        return
    if (kind == "enabled") != (body["model"] == SONNET):
        raise _invalid(f"thinking.type: {kind!r} is not supported by this model")
    if kind == "enabled" and not _MIN_BUDGET <= thinking["budget_tokens"] < body["max_tokens"]:
        raise _invalid("thinking.budget_tokens: must be at least 1024 and less than max_tokens")
    if body.get("temperature", 1) != 1 or "top_k" in body:
        raise _invalid("temperature may only be set to 1 when thinking is enabled.")
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise _invalid("Thinking may not be enabled when tool_choice forces tool use.")


def _check_tools(body: Json) -> None:
    tools = body.get("tools") or []
    if body.get("tool_choice") and not tools:
        raise _invalid("tool_choice: may only be specified while providing tools")
    for index, tool in enumerate(tools):
        if not _NAME.fullmatch(tool["name"]):
            raise _invalid(f"tools.{index}.name: String should match pattern")
        if tool["input_schema"].get("type") != "object":
            raise _invalid(f"tools.{index}.input_schema.type: Field required")
    uses = any(block["type"] == "tool_use" for turn in body["messages"] for block in _blocks_of(turn))
    if uses and not tools:
        raise _invalid("tools: Requests which include `tool_use` blocks must define tools")


def _check_turns(turns: Any, *, thinks: bool) -> None:
    if not isinstance(turns, list) or not turns or turns[0]["role"] != "user":
        raise _invalid("messages: first message must use the user role")
    open_calls: set[str] = set()
    for index, turn in enumerate(turns):
        if turn["role"] not in ("user", "assistant"):
            raise _invalid(f"messages.{index}.role: unexpected {turn['role']!r}")
        blocks = _blocks_of(turn)
        if not blocks:
            raise _invalid(f"messages.{index}: must have non-empty content")
        answered = _results_first(blocks, index)
        if answered != open_calls:
            raise _invalid(f"messages.{index}: tool_use ids and tool_result ids differ: {open_calls ^ answered}")
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for place, block in enumerate(blocks):
            _check_block(block, f"messages.{index}.content.{place}")
    begin = len(turns)
    while begin > 1 and any(block["type"] == "tool_result" for block in _blocks_of(turns[begin - 1])):
        begin -= 2
    if thinks and begin < len(turns) and (kind := _blocks_of(turns[begin])[0]["type"]) not in _THOUGHTS:
        raise _invalid(f"messages.{begin}.content.0.type: Expected `thinking`, but found `{kind}`")


_THOUGHTS = ("thinking", "redacted_thinking")


def _results_first(blocks: list[Json], index: int) -> set[str]:
    """The ids of the calls that a turn answers, which it must do before all else."""
    kinds = [block["type"] == "tool_result" for block in blocks]
    if kinds != sorted(kinds, reverse=True):
        raise _invalid(f"messages.{index}: tool_result blocks must come first")
    return {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}


def _check_block(block: Json, where: str) -> None:
    kind = block["type"]
    if kind == "text" and not block["text"].strip():
        raise _invalid(f"{where}: text content blocks must contain non-whitespace text")
    if kind == "tool_use" and not (_NAME.fullmatch(block["id"]) and isinstance(block["input"], dict)):
        raise _invalid(f"{where}: tool_use.id should match a pattern, and tool_use.input be an object")
    if kind == "thinking" and block["signature"] != _signature(block["thinking"]):
        raise _invalid(f"{where}: Invalid `signature` in `thinking` block")


def _blocks_of(turn: Json) -> list[Json]:
    content = turn["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _marks_in(value: Any) -> list[Any]:
    """Every mark of the cache, anywhere in the request."""
    if isinstance(value, list):
        return [mark for item in value for mark in _marks_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value["cache_control"]] if "cache_control" in value else []
    return [*own, *(mark for item in value.values() for mark in _marks_in(item))]


if __name__ == "__main__":
    run(AnthropicSimulator, __doc__)
