"""OpenAI's operations over a real network: its SDK is content with the simulator, and so is our adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

import openai
import pytest

from llmgateway.v1.chat_service_pb2 import EmbedContentRequest
from llmgateway.v1.content_pb2 import Media, Part
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    ModerateContentRequest,
    RerankDocumentsRequest,
    SynthesizeSpeechRequest,
    TranscribeAudioRequest,
)
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall, OperationRequest
from llmgateway_server.ports.provider import Credential, Endpoint, Timeouts
from llmgateway_server.providers import Providers
from llmgateway_server.system import SystemClock
from tests.support.openai_simulated_operations import PICTURE
from tests.support.raw_server import Connection, raw_server, response
from tests.support.simulators import SimulatorProcess, simulator

KEY = "simulated-key"
SPEECH = SynthesizeSpeechRequest(text="one two three", voice="alloy", format="wav")


@pytest.fixture(scope="module")
def process() -> Generator[SimulatorProcess]:
    with simulator("tests.support.openai_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=upstream.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


def call(
    request: OperationRequest,
    url: str,
    *,
    model: str = "speak-sim",
    vendor: str = "",
    key: str = KEY,
    timeouts: Timeouts | None = None,
) -> OperationCall:
    endpoint = Endpoint("deployments/d", "providers/p", "openai", model, url, Credential(key), vendor=vendor)
    deadline = asyncio.get_running_loop().time() + 10
    return OperationCall(request, endpoint, deadline=deadline, timeouts=timeouts or Timeouts(), stream=True)


async def run(providers: Providers, made: OperationCall) -> list[Any]:
    operations: Any = providers.operations(made.endpoint).run(made)
    async with aclosing(operations) as answers:
        return [answer async for answer in answers]


async def reason_of(providers: Providers, made: OperationCall) -> str:
    with pytest.raises(GatewayError) as caught:
        await run(providers, made)
    assert KEY not in caught.value.message
    assert caught.value.metadata["provider"] == "providers/p"
    return caught.value.reason_name


class TestSdk:
    """OpenAI's own SDK, against the simulator."""

    async def test_embeddings(self, sdk: openai.AsyncOpenAI) -> None:
        answer = await sdk.embeddings.create(model="embed-sim", input=["a", "abcd"], dimensions=2)

        assert [each.embedding for each in answer.data] == [[0.125, 0.5], [0.5, 0.5]]

    async def test_moderations(self, sdk: openai.AsyncOpenAI) -> None:
        answer = await sdk.moderations.create(model="moderate-sim", input=["harm", "peace"])

        assert [each.flagged for each in answer.results] == [True, False]

    async def test_transcriptions(self, sdk: openai.AsyncOpenAI) -> None:
        answer = await sdk.audio.transcriptions.create(
            model="hear-sim",
            file=("a.wav", b"RIFF"),
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )

        assert (answer.text, [word.word for word in answer.words or []]) == (
            "simulated words",
            ["simulated", "words"],
        )

    async def test_speech(self, sdk: openai.AsyncOpenAI) -> None:
        async with sdk.audio.speech.with_streaming_response.create(
            model="speak-sim", voice="alloy", input="one two", response_format="wav"
        ) as answer:
            assert answer.headers["content-type"] == "audio/wav"
            assert await answer.read() == b"[one]" * 100 + b"[two]" * 100

    async def test_images(self, sdk: openai.AsyncOpenAI) -> None:
        answer = await sdk.images.generate(model="gpt-image-sim", prompt="A cat", n=2)

        assert len(answer.data or []) == 2

    async def test_refusals(self, sdk: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.images.generate(model="gpt-image-sim", prompt="A cat", response_format="url")
        assert caught.value.param == "response_format"


class TestAdapter:
    """Our adapter, against the simulator."""

    @pytest.mark.parametrize("vendor", ["openai", "openai-compatible"])
    async def test_vectors(self, upstream: SimulatorProcess, providers: Providers, vendor: str) -> None:
        made = call(EmbedContentRequest(texts=["a", "abcd"]), upstream.url, model="embed-sim", vendor=vendor)
        (answer,) = await run(providers, made)

        assert [list(each.values)[:1] for each in answer.embeddings] == [[0.125], [0.5]]
        assert upstream.journal()[0]["body"].get("encoding_format") == ("base64" if vendor == "openai" else None)

    async def test_judgements_ranks_and_pictures(self, upstream: SimulatorProcess, providers: Providers) -> None:
        judged = call(ModerateContentRequest(parts=[Part(text="harm")]), upstream.url, model="moderate-sim")
        ranked = call(
            RerankDocumentsRequest(query="a", documents=["b", "a"]),
            upstream.url,
            model="rerank-sim",
            vendor="openai-compatible",
        )
        drawn = call(GenerateImagesRequest(prompt="A cat", count=2), upstream.url, model="gpt-image-sim")

        assert (await run(providers, judged))[0].judgements[0].flagged
        assert [each.index for each in (await run(providers, ranked))[0].results] == [1, 0]
        assert [each.image.data for each in (await run(providers, drawn))[0].images] == [PICTURE, PICTURE]

    async def test_an_upload(self, upstream: SimulatorProcess, providers: Providers) -> None:
        # Larger than what goes out in one write.
        audio = Media(data=b"x" * 2_000_000, mime_type="audio/mpeg", filename="a.mp3")
        request = TranscribeAudioRequest(audio=audio, format="verbose_json", timestamp_granularities=["word"])
        (answer,) = await run(providers, call(request, upstream.url, model="hear-sim"))

        assert (answer.text, len(answer.words)) == ("simulated words", 2)
        assert upstream.journal()[0]["body"]["file"] == ["a.mp3", "audio/mpeg", 2_000_000]

    async def test_speech_leaves_at_once(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"break_at": 2, "how": "hang"})
        made = call(SPEECH, upstream.url)
        operations: Any = providers.operations(made.endpoint).run(made)
        async with aclosing(operations) as answers:
            first = await anext(answers)
            assert (first.data, first.mime_type) == (b"[one]" * 100, "audio/wav")

        await asyncio.to_thread(upstream.wait_for, lambda journal: journal[0]["closed_at"] is not None)

    async def test_whole_speech(self, upstream: SimulatorProcess, providers: Providers) -> None:
        *pieces, last = await run(providers, call(SPEECH, upstream.url))

        assert b"".join(piece.data for piece in pieces) == b"[one]" * 100 + b"[two]" * 100 + b"[three]" * 100
        assert [message.HasField("serving") for message in (*pieces, last)] == [False] * len(pieces) + [True]

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_speech_that_breaks_off_is_never_whole(
        self, upstream: SimulatorProcess, providers: Providers, how: str
    ) -> None:
        upstream.queue({"break_at": 3, "how": how, "delay_ms": 50})

        assert await reason_of(providers, call(SPEECH, upstream.url)) == "STREAM_BROKEN"

    async def test_speech_that_falls_silent(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"break_at": 2, "how": "hang"})

        assert await reason_of(providers, call(SPEECH, upstream.url, timeouts=Timeouts(idle=0.1))) == "STREAM_BROKEN"

    async def test_speech_that_never_begins(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"break_at": 1, "how": "hang"})
        timeouts = Timeouts(first_event=0.1)

        assert await reason_of(providers, call(SPEECH, upstream.url, timeouts=timeouts)) == "PROVIDER_UNAVAILABLE"

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ({"status": 401}, "PROVIDER_REJECTED_CREDENTIAL"),
            ({"status": 429}, "PROVIDER_RATE_LIMITED"),
            ({"status": 503}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 0, "how": "reset"}, "PROVIDER_UNAVAILABLE"),
            ({"body": "<html>", "content_type": "text/html"}, "PROVIDER_PROTOCOL_ERROR"),
        ],
    )
    async def test_failures(
        self, upstream: SimulatorProcess, providers: Providers, script: dict[str, Any], reason: str
    ) -> None:
        upstream.queue(script, script)
        texts = call(EmbedContentRequest(texts=["a"]), upstream.url, model="embed-sim")

        assert await reason_of(providers, texts) == reason
        assert await reason_of(providers, call(SPEECH, upstream.url)) == reason


async def test_an_answer_cut_anywhere_is_never_whole(providers: Providers) -> None:
    body = b'{"data":[{"index":0,"embedding":[0.5,0.25]}]}'
    whole = response(body, content_type="application/json", framing="length")
    cuts = iter(range(len(whole) - len(body), len(whole), 5))

    async def play(connection: Connection) -> None:
        await connection.send(whole[: next(cuts)])
        connection.close()

    async with raw_server(play) as server:
        for _ in range(len(body) // 5):
            made = call(EmbedContentRequest(texts=["a"]), server.url)
            assert await reason_of(providers, made) == "PROVIDER_UNAVAILABLE"
