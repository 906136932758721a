"""A provider without a network: it echoes, or does what a script says. It is there to try things out, and for tests.

Without a script the answer is the last user message, a word a chunk when it is streamed. Where the request asks for
JSON by a schema the answer is a small instance of it, and where it requires a tool the answer is a call of that tool.
A script comes from the provider's `script` field and from `provider_options["fake"]` of the request, whose fields go
before the provider's; `Script` in `fake_script.py` says what it may hold. The same request and script give the same
answer: ids and jitter follow from the request and the seed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NoReturn

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, Finished
from llmgateway.v1.content_pb2 import Logprobs, ResponseFormat, Role, TokenLogprob, ToolChoice, Usage
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import broken, text_of
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.assembly import Assembly
from llmgateway_server.providers.failures import error_for, explained
from llmgateway_server.providers.fake_script import Script, ScriptedCall, ScriptedFailure, finish_reason, script_of
from llmgateway_server.providers.schema_instance import instance_of
from llmgateway_server.providers.watchdog import DEADLINE, FIRST_EVENT, IDLE, TOTAL, Clockwork

_WORDS = re.compile(r"\S+\s*|\s+")
_ARGUMENT_CHARACTERS = 8
"""How much of a tool call's arguments comes in one chunk."""


class FakeAdapter:
    """A `ChatAdapter` that answers by itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        script = script_of(call)
        answer = _answer(call, script)
        pace = _Pace(call, script)
        assembly = Assembly()
        assembly.start(_digest(call, "fake-"), call.endpoint.upstream_model, int(self._clock.now().timestamp()))
        begun = False
        try:
            await pace.before_answer()
            for number, chunk in enumerate(answer.chunks):
                await pace.before_chunk(number)
                chunk.say(assembly)
                if call.stream:
                    begun = pace.begun = True
                    for event in assembly.take():
                        yield event
            await pace.before_end(len(answer.chunks))
            assembly.finish(answer.finished)
            for event in assembly.take():
                begun = True
                yield event
        except GatewayError as error:
            raise explained(error, call, begun=begun) from error.__cause__


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A piece of the answer."""

    kind: str
    """`text`, `reasoning`, `refusal`, `call` or `arguments`."""
    text: str
    place: int = 0
    """Which tool call it is of."""
    id: str = ""
    custom: bool = False
    logprobs: Logprobs | None = None

    def say(self, assembly: Assembly) -> None:
        """Adds it to the answer."""
        if self.kind == "text":
            assembly.text(self.text)
        elif self.kind == "reasoning":
            assembly.reasoning(self.text)
        elif self.kind == "refusal":
            assembly.refusal(self.text)
        elif self.kind == "call":
            assembly.tool_call(self.place, self.id, self.text, custom=self.custom)
        else:
            assembly.arguments(self.place, self.text)
        if self.logprobs is not None:
            assembly.logprobs(self.logprobs, self.kind)


@dataclass(slots=True)
class _Answer:
    """What is to be said."""

    chunks: list[_Chunk] = field(default_factory=list[_Chunk])
    finished: Finished = field(default_factory=Finished)


def _answer(call: ProviderCall, script: Script) -> _Answer:
    request = call.request
    answer = _Answer()
    chunks = answer.chunks
    chunks += [_Chunk("reasoning", word) for word in _words(script.reasoning)]
    texts, cut = _within_limit(request, _texts(request, script))
    chunks += [_Chunk("text", text, logprobs=_logprobs(request, text)) for text in texts]
    chunks += [_Chunk("refusal", word) for word in _words(script.refusal)]
    calls = _calls(request, script)
    for place, scripted in enumerate(calls):
        chunks += _call_chunks(scripted, place, scripted.id or _digest(call, "call_", str(place)))
    reason = script.finish_reason or _fitting_reason(script, cut=cut, calls=bool(calls))
    answer.finished.raw_finish_reason = reason
    answer.finished.finish_reason = finish_reason(reason)
    if script.report_usage:
        answer.finished.usage.CopyFrom(_usage(request, script, chunks))
    return answer


def _texts(request: ChatRequest, script: Script) -> list[str]:
    """The text of the answer, in the pieces in which it is streamed."""
    if isinstance(script.chunks, list):
        return script.chunks
    if script.text is not None:
        text = script.text
    elif script.json_value is not None:
        text = _json(script.json_value)
    elif script.says_something or _must_call(request):
        return []
    else:
        text = _unscripted(request)
    return _words(text) if script.chunks is None else _pieces(text, script.chunks)


def _unscripted(request: ChatRequest) -> str:
    said = next((text_of(message) for message in reversed(request.messages) if message.role == Role.ROLE_USER), "")
    wanted = request.generation.response_format
    if wanted.type == ResponseFormat.TYPE_JSON_SCHEMA:
        return _json(instance_of(orjson.loads(wanted.schema)))
    return _json({"echo": said}) if wanted.type == ResponseFormat.TYPE_JSON_OBJECT else said


def _within_limit(request: ChatRequest, texts: list[str]) -> tuple[list[str], bool]:
    """As many pieces as the request has tokens for, and whether that cut any off."""
    if not request.generation.HasField("max_output_tokens"):
        return texts, False
    most = request.generation.max_output_tokens
    return texts[:most], len(texts) > most


def _calls(request: ChatRequest, script: Script) -> list[ScriptedCall]:
    if script.says_something or not _must_call(request):
        return script.tool_calls
    names = request.tool_choice.names
    tools = [tool for tool in request.tools if not names or (tool.function.name or tool.custom.name) in names]
    tool = tools[0]
    if tool.WhichOneof("kind") == "custom":
        return [ScriptedCall(name=tool.custom.name, arguments="text", custom=True)]
    schema = tool.function.parameters_schema
    arguments = _json(instance_of(orjson.loads(schema))) if schema else "{}"
    return [ScriptedCall(name=tool.function.name, arguments=arguments)]


def _must_call(request: ChatRequest) -> bool:
    return request.tool_choice.mode == ToolChoice.MODE_REQUIRED and bool(request.tools)


def _call_chunks(scripted: ScriptedCall, place: int, call_id: str) -> list[_Chunk]:
    text = scripted.arguments if isinstance(scripted.arguments, str) else _json(scripted.arguments)
    begin = _Chunk("call", scripted.name, place, call_id, custom=scripted.custom)
    starts = range(0, len(text), _ARGUMENT_CHARACTERS)
    return [begin, *(_Chunk("arguments", text[start : start + _ARGUMENT_CHARACTERS], place) for start in starts)]


def _fitting_reason(script: Script, *, cut: bool, calls: bool) -> str:
    if cut:
        return "length"
    if calls:
        return "tool_calls"
    return "content_filter" if script.refusal else "stop"


def _usage(request: ChatRequest, script: Script, chunks: list[_Chunk]) -> Usage:
    """The scripted counts; for those that are left out, words stand for tokens."""
    thought = len(_words(script.reasoning))
    usage = Usage(
        input_tokens=sum(len(text_of(message).split()) for message in request.messages),
        output_tokens=sum(chunk.kind != "arguments" for chunk in chunks),
        output_reasoning_tokens=thought,
    )
    for name, count in script.usage.items():
        setattr(usage, name, count)
    return usage


def _logprobs(request: ChatRequest, text: str) -> Logprobs | None:
    """One token a chunk, the likelier the shorter it is."""
    generation = request.generation
    if not generation.logprobs:
        return None
    token = TokenLogprob(token=text, logprob=-0.01 * len(text), raw=text.encode())
    for rank in range(generation.top_logprobs):
        other = text if rank == 0 else f"{text}{rank}"
        token.alternatives.add(token=other, logprob=-0.01 * len(text) - rank, raw=other.encode())
    return Logprobs(tokens=[token])


def _words(text: str) -> list[str]:
    """Words with the spaces after them, so that they join to the text again."""
    return _WORDS.findall(text)


def _pieces(text: str, count: int) -> list[str]:
    """The text in so many pieces of nearly the same length; fewer when it is shorter than that."""
    count = min(count, len(text))
    return [text[len(text) * i // count : len(text) * (i + 1) // count] for i in range(count)]


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON
    return orjson.dumps(value).decode()


def _digest(call: ProviderCall, prefix: str, salt: str = "") -> str:
    """An id that follows from the request."""
    seed = call.request_id.encode() or call.request.SerializeToString(deterministic=True)
    return prefix + blake2b(seed, digest_size=12, salt=salt.encode()).hexdigest()


class _Pace:
    """Waits as the script says and fails where it says, within the time that the call has."""

    def __init__(self, call: ProviderCall, script: Script) -> None:
        self._call = call
        self._script = script
        self._clockwork = Clockwork(call)
        self._delay = 1 / script.tokens_per_second if script.tokens_per_second else script.delay_ms / 1000
        self.begun = False

    async def before_answer(self) -> None:
        """Waits the latency of the first event."""
        await self._wait(self._strayed(self._script.latency_ms / 1000, 0))

    async def before_chunk(self, number: int) -> None:
        """Fails if it is time to, and waits before each chunk but the first, which has the number 0."""
        failure = self._script.failure
        if failure is not None and failure.after_chunks == number:
            await self._fail(failure)
        if number:
            await self._wait(self._strayed(self._delay, number))

    async def before_end(self, chunks: int) -> None:
        """Fails if there were not enough chunks to fail before."""
        failure = self._script.failure
        if failure is not None and failure.after_chunks >= chunks:
            await self._fail(failure)

    async def _fail(self, failure: ScriptedFailure) -> NoReturn:
        if failure.kind == "truncate":
            raise broken("the provider's stream ended without saying why the answer ended.")
        while failure.kind == "hang":
            await self._wait(self._call.timeouts.total)
        raise error_for(
            failure.error_reason, failure.message, retry_after=failure.retry_after, retryable=failure.retryable
        )

    def _strayed(self, seconds: float, number: int) -> float:
        if not (seconds and self._script.jitter):
            return seconds
        digest = blake2b(f"{self._script.seed}/{number}".encode(), digest_size=8).digest()
        share = int.from_bytes(digest, "big") / 2**64
        return seconds * (1 + self._script.jitter * (2 * share - 1))

    async def _wait(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        limit, what = self._limit(now)
        if seconds <= 0 and now < limit:
            return
        # This is the latency that the fake simulates, not a wait for something else to happen.
        await asyncio.sleep(min(seconds, limit - now))
        if now + seconds >= limit:
            raise self._clockwork.expired(what)

    def _limit(self, now: float) -> tuple[float, str]:
        clockwork = self._clockwork
        limits = [(clockwork.deadline, DEADLINE), (clockwork.total_at, TOTAL)]
        if self._call.stream:
            idle_at = now + self._call.timeouts.idle
            limits.append((idle_at, IDLE) if self.begun else (clockwork.first_event_at, FIRST_EVENT))
        return min(limits)
