"""The fake provider's operations follow from the request, and fit what the contract says of answers."""

from __future__ import annotations

from math import inf, isclose
from typing import Any

import pytest

from llmgateway.v1.chat_service_pb2 import CountTokensRequest, EmbedContentRequest
from llmgateway.v1.content_pb2 import Media, Message, Part, Role
from llmgateway.v1.content_service_pb2 import (
    ModerateContentRequest,
    RerankDocumentsRequest,
    SynthesizeSpeechRequest,
    TranscribeAudioRequest,
)
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall, OperationRequest
from llmgateway_server.ports.provider import Credential, Endpoint
from llmgateway_server.providers.fake_operations import FakeOperations

ENDPOINT = Endpoint("deployments/d", "providers/fake", "fake", "fake/echo", "", Credential())


async def run(request: OperationRequest) -> list[Any]:
    return [answer async for answer in FakeOperations().run(OperationCall(request, ENDPOINT, deadline=inf))]


async def test_vectors_are_the_closer_the_more_words_texts_share() -> None:
    request = EmbedContentRequest(texts=["a red cat", "a red dog", "five old ships", "!"])
    (answer,) = await run(request)
    (again,) = await run(request)

    vectors = [list(each.values) for each in answer.embeddings]
    close, far = (sum(x * y for x, y in zip(vectors[0], other, strict=True)) for other in vectors[1:3])
    assert answer == again
    assert close > far
    assert all(isclose(sum(value * value for value in vector), 1, abs_tol=1e-5) for vector in vectors)
    assert {len(vector) for vector in vectors} == {64}
    assert answer.serving.upstream_model == "fake/echo"


async def test_vectors_have_the_wanted_length() -> None:
    (answer,) = await run(EmbedContentRequest(texts=["a", "a b c d e f g h"], dimensions=1))

    assert [len(each.values) for each in answer.embeddings] == [1, 1]


async def test_ranks() -> None:
    (answer,) = await run(RerankDocumentsRequest(query="red cat", documents=["a ship", "the cat", "red cat"], top_n=2))

    assert [result.index for result in answer.results] == [2, 1]


async def test_judgements() -> None:
    (answer,) = await run(ModerateContentRequest(parts=[Part(text="Harmful words"), Part(text="kind words")]))

    assert [each.flagged for each in answer.judgements] == [True, False]


async def test_speech_is_a_message_a_word_and_a_last_one() -> None:
    *pieces, last = await run(SynthesizeSpeechRequest(text="one two", voice="v", format="wav"))

    assert [piece.mime_type for piece in pieces] == ["audio/wav", ""]
    assert [len(piece.data) for piece in pieces] == [1024, 1024]
    assert [message.HasField("serving") for message in (*pieces, last)] == [False, False, True]


async def test_words_are_counted() -> None:
    (answer,) = await run(CountTokensRequest(messages=[Message(role=Role.ROLE_USER, parts=[Part(text="one two")])]))

    assert (answer.input_tokens, answer.estimated) == (2, False)


async def test_it_does_not_hear() -> None:
    with pytest.raises(GatewayError) as caught:
        await run(TranscribeAudioRequest(audio=Media(data=b"x", mime_type="audio/wav")))

    assert (caught.value.reason_name, caught.value.field) == ("UNSUPPORTED_FEATURE", "model")
    assert "transcribe audio" in caught.value.message
