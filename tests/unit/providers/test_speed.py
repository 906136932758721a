"""Translation stays cheap. The bounds are ten times what was measured, to catch what went badly wrong and no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Role
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall
from llmgateway_server.providers.framing import SseReader
from llmgateway_server.providers.openai import OpenAIChat

CHUNK = {
    "id": "chatcmpl-1234567890abcdef",
    "object": "chat.completion.chunk",
    "created": 1760000000,
    "model": "gpt-5-2026-01-01",
    "service_tier": "default",
    "system_fingerprint": "fp_1234",
    "choices": [{"index": 0, "delta": {"content": " Hello"}, "logprobs": None, "finish_reason": None}],
    "usage": None,
    "obfuscation": "k3Vd",
}


def fifty_messages() -> ProviderCall:
    request = ChatRequest()
    for turn in range(50):
        role = Role.ROLE_ASSISTANT if turn % 2 else Role.ROLE_USER
        request.messages.add(role=role).parts.add(text="Lorem ipsum dolor sit amet. " * 20)
    endpoint = Endpoint("deployments/d", "providers/p", "openai", "m", "", Credential("secret"))
    return ProviderCall(request, endpoint, stream=False, deadline=inf)


def fastest(work: Callable[[], object], *, rounds: int) -> float:
    """Seconds of the fastest of several rounds."""
    times: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


@pytest.mark.bench
def test_request_of_fifty_messages_and_its_answer() -> None:
    wire, call = OpenAIChat(), fifty_messages()
    message = {"role": "assistant", "content": "Lorem ipsum " * 200, "refusal": None, "annotations": []}
    body = orjson.dumps(
        {"id": "c", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    )

    def work() -> None:
        wire.encode(call)
        wire.decoder(call).whole(body, {})

    assert fastest(work, rounds=50) < 0.003


@pytest.mark.bench
def test_stream_of_many_chunks() -> None:
    wire, call = OpenAIChat(), fifty_messages()
    body = (b"data: " + orjson.dumps(CHUNK) + b"\n\n") * 2_000
    reads = [body[at : at + 65536] for at in range(0, len(body), 65536)]

    def work() -> None:
        reader, decoder = SseReader(), wire.decoder(call)
        for piece in reads:
            decoder.feed(reader.feed(piece))

    assert len(body) / fastest(work, rounds=5) > 10_000_000
