"""OpenAI's SDK through Envoy, for what is not a conversation."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.gateway import Gateway
from tests.support.openai_simulated_operations import PICTURE
from tests.support.simulators import SimulatorProcess

pytestmark = pytest.mark.e2e

HEADERS = {"x-gw-served-provider": "simulated", "x-gw-attempts": "1"}


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=20
    ) as client:
        yield client


@pytest.fixture
def upstream(openai_simulator: SimulatorProcess) -> SimulatorProcess:
    openai_simulator.clear()
    return openai_simulator


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(sdk: openai.AsyncOpenAI, encoding: str) -> None:
    """The SDK asks for base64 by itself, and gives numbers in either case."""
    chosen: Any = {"encoding_format": encoding} if encoding == "float" else {}
    raw = await sdk.embeddings.with_raw_response.create(
        model="simulated/embed-sim",
        input=["a", "abcd"],
        dimensions=2,
        **chosen,
    )
    answer = raw.parse()

    assert [each.embedding for each in answer.data] == [[0.125, 0.5], [0.5, 0.5]]
    assert (answer.model, answer.usage.prompt_tokens) == ("embed-sim", 2)
    assert {name: raw.headers[name] for name in HEADERS} == HEADERS


async def test_moderations(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.moderations.create(model="simulated/moderate-sim", input=["harm", "peace"])

    assert [each.flagged for each in answer.results] == [True, False]
    assert answer.results[0].categories.violence
    assert answer.results[0].category_scores.violence == 0.75


async def test_an_upload(sdk: openai.AsyncOpenAI, upstream: SimulatorProcess) -> None:
    answer = await sdk.audio.transcriptions.create(
        model="simulated/hear-sim",
        file=("speech.mp3", b"\r\n--x" * 400_000, "audio/mpeg"),
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )

    assert answer.text == "simulated words"
    assert [(word.word, word.start, word.end) for word in answer.words or []] == [
        ("simulated", 0.25, 0.5),
        ("words", 0.25, 0.5),
    ]
    assert answer.duration == 1.5
    sent = upstream.journal()[0]["body"]
    assert sent["file"] == ["speech.mp3", "audio/mpeg", 2_000_000]
    assert (sent["model"], sent["language"]) == ("hear-sim", "en")


async def test_subtitles_of_a_translation(gateway: Gateway, upstream: SimulatorProcess) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        answer = await client.post(
            "/v1/audio/translations",
            data={"model": "simulated/hear-sim", "response_format": "srt"},
            files={"file": ("a.wav", b"RIFF")},
            headers=gateway.bearer(),
        )

    assert answer.text.startswith("1\n00:00:00,000 --> ")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert upstream.journal()[0]["path"] == "/v1/audio/translations"


async def test_speech_comes_as_it_is_spoken(sdk: openai.AsyncOpenAI, upstream: SimulatorProcess) -> None:
    upstream.queue({"break_at": 2, "how": "hang"})
    async with sdk.audio.speech.with_streaming_response.create(
        model="simulated/speak-sim", voice="alloy", input="one two", response_format="wav"
    ) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-gw-served-provider"] == "simulated"
        # The second word never comes, so the first one did not wait for it.
        assert await anext(answer.iter_bytes(500)) == b"[one]" * 100
        left = time.time()
    journal = await asyncio.to_thread(upstream.wait_for, lambda entries: entries[0]["closed_at"] is not None)
    assert journal[0]["closed_at"] - left < 0.5


async def test_whole_speech(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.audio.speech.create(model="simulated/speak-sim", voice="alloy", input="one two")

    assert answer.content == b"[one]" * 100 + b"[two]" * 100


async def test_images(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.images.generate(model="simulated/gpt-image-sim", prompt="A cat", n=2)

    assert [base64.b64decode(each.b64_json or "") for each in answer.data or []] == [PICTURE, PICTURE]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 103


async def test_completions(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model="simulated/chat", prompt="one two")
    pieces = await sdk.completions.create(model="simulated/chat", prompt="one two", stream=True)
    text = "".join([chunk.choices[0].text async for chunk in pieces if chunk.choices])

    assert (whole.choices[0].text, whole.choices[0].finish_reason, text) == ("one two", "stop", "one two")


async def test_rerank(gateway: Gateway) -> None:
    body = {"model": "simulated/rerank-sim", "query": "a", "documents": ["b", "a"]}
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        answer = await client.post("/v1/rerank", json=body, headers=gateway.bearer())

    assert [each["index"] for each in answer.json()["results"]] == [1, 0]


async def test_refusals_name_the_field(sdk: openai.AsyncOpenAI) -> None:
    shape: Any = "tape"
    with pytest.raises(openai.BadRequestError) as tokens:
        await sdk.embeddings.create(model="simulated/embed-sim", input=[1, 2])
    with pytest.raises(openai.BadRequestError) as form:
        await sdk.audio.transcriptions.create(
            model="simulated/hear-sim", file=("a.wav", b"RIFF"), response_format=shape
        )
    with pytest.raises(openai.NotFoundError):
        await sdk.images.generate(model="nobody/none", prompt="A cat")

    assert (tokens.value.param, form.value.param) == ("input", "response_format")
