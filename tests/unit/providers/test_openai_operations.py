"""Operations of OpenAI's dialect, as bytes: what is sent, what is read, and what is refused."""

from __future__ import annotations

import base64
import struct
from email import message_from_bytes
from math import inf
from typing import Any

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import CountTokensRequest, EmbedContentRequest
from llmgateway.v1.content_pb2 import Media, Part
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    ModerateContentRequest,
    RerankDocumentsRequest,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    TranscribeAudioRequest,
)
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall, OperationRequest
from llmgateway_server.ports.provider import Credential, Endpoint
from llmgateway_server.providers.openai_operations import OPENAI_OPERATIONS
from llmgateway_server.providers.operations import StreamedFormat
from llmgateway_server.providers.wire import HttpRequest

SECRET = "secret-of-the-gateway"
HTML = {"content-type": "text/html; charset=utf-8"}
WAV = Media(data=b"RIFF", mime_type="audio/wav")


def call(
    request: OperationRequest, *, vendor: str = "openai-compatible", model: str = "m", base_url: str = "http://up/v1"
) -> OperationCall:
    endpoint = Endpoint("deployments/d", "providers/p", "openai", model, base_url, Credential(SECRET), vendor=vendor)
    return OperationCall(request, endpoint, deadline=inf)


def encode(made: OperationCall) -> HttpRequest:
    return OPENAI_OPERATIONS[type(made.request)].encode(made)


def decode(made: OperationCall, body: object, headers: dict[str, str] | None = None) -> Any:
    operation = OPENAI_OPERATIONS[type(made.request)]
    assert not isinstance(operation, StreamedFormat)
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = operation.decode(made, headers or {}, data)
    assert answer.HasField("serving")
    return answer


SENT: dict[str, tuple[OperationCall, str, dict[str, Any], list[str]]] = {
    "embeddings": (
        call(EmbedContentRequest(texts=["a", "b"], dimensions=8, end_user="u", purpose="search_query")),
        "http://up/v1/embeddings",
        {"model": "m", "input": ["a", "b"], "dimensions": 8, "user": "u"},
        ["purpose"],
    ),
    "embeddings of OpenAI come as base64": (
        call(EmbedContentRequest(texts=["a"]), vendor="openai", base_url=""),
        "https://api.openai.com/v1/embeddings",
        {"model": "m", "input": ["a"], "encoding_format": "base64"},
        [],
    ),
    "embeddings of a vendor with a word of its own": (
        call(EmbedContentRequest(texts=["a"], dimensions=8, end_user="u"), vendor="mistral"),
        "http://up/v1/embeddings",
        {"model": "m", "input": ["a"], "output_dimension": 8},
        ["end_user"],
    ),
    "options of the caller": (
        call(EmbedContentRequest(texts=["a"], provider_options={"openai": '{"x": 1, "input": "no"}'})),
        "http://up/v1/embeddings",
        {"model": "m", "input": ["a"], "x": 1},
        ["provider_options.openai.input"],
    ),
    "rerank": (
        call(RerankDocumentsRequest(query="q", documents=["a", "b"], top_n=1, max_tokens_per_document=9)),
        "http://up/v1/rerank",
        {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1},
        ["max_tokens_per_document"],
    ),
    "moderation": (
        call(ModerateContentRequest(parts=[Part(text="a"), Part(text="b")])),
        "http://up/v1/moderations",
        {"model": "m", "input": ["a", "b"]},
        [],
    ),
    "moderation of a picture": (
        call(ModerateContentRequest(parts=[Part(image=Media(data=b"x", mime_type="image/png"))])),
        "http://up/v1/moderations",
        {"model": "m", "input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}]},
        [],
    ),
    "speech": (
        call(SynthesizeSpeechRequest(text="Hi", voice="alloy", instructions="low", format="wav", speed=1.5)),
        "http://up/v1/audio/speech",
        {"model": "m", "input": "Hi", "voice": "alloy", "instructions": "low", "response_format": "wav", "speed": 1.5},
        [],
    ),
    "images": (
        call(GenerateImagesRequest(prompt="A cat", count=2, size="512x512", quality="high", style="vivid")),
        "http://up/v1/images/generations",
        {
            "model": "m",
            "prompt": "A cat",
            "n": 2,
            "size": "512x512",
            "quality": "high",
            "style": "vivid",
            "response_format": "b64_json",
        },
        [],
    ),
    "images of a model that gives bytes only": (
        call(GenerateImagesRequest(prompt="A cat", as_url=True), model="gpt-image-1"),
        "http://up/v1/images/generations",
        {"model": "gpt-image-1", "prompt": "A cat"},
        ["as_url"],
    ),
}


@pytest.mark.parametrize(("made", "url", "body", "warnings"), SENT.values(), ids=SENT.keys())
def test_request(made: OperationCall, url: str, body: dict[str, Any], warnings: list[str]) -> None:
    before = made.request.SerializeToString(deterministic=True)

    sent = encode(made)

    assert (sent.method, sent.url) == ("POST", url)
    assert orjson.loads(sent.body) == body
    assert sent.headers["authorization"] == f"Bearer {SECRET}"
    assert [warning.field for warning in sent.warnings] == warnings
    assert made.request.SerializeToString(deterministic=True) == before, "the request was changed"


def form_of(sent: HttpRequest) -> dict[str, list[tuple[bytes, str | None, str]]]:
    """Fields of a form as the standard library reads them: value, file name, type."""
    message = message_from_bytes(b"content-type: " + sent.headers["content-type"].encode() + b"\r\n\r\n" + sent.body)
    fields: dict[str, list[tuple[bytes, str | None, str]]] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            value = part.get_payload(decode=True)
            assert isinstance(value, bytes)
            fields.setdefault(name, []).append((value, part.get_filename(), part.get_content_type()))
    return fields


def test_transcription_is_a_form() -> None:
    request = TranscribeAudioRequest(
        audio=Media(data=b"RIFF\r\n--x\r\n", mime_type="audio/wav", filename='a"b.wav'),
        language="en",
        prompt="Oslo",
        format="verbose_json",
        temperature=0.5,
        timestamp_granularities=["word", "segment"],
        provider_options={"openai": '{"chunking_strategy": "auto"}'},
    )

    sent = encode(call(request))

    assert sent.url == "http://up/v1/audio/transcriptions"
    assert {name: [value for value, _, _ in values] for name, values in form_of(sent).items()} == {
        "model": [b"m"],
        "language": [b"en"],
        "prompt": [b"Oslo"],
        "response_format": [b"verbose_json"],
        "temperature": [b"0.5"],
        "chunking_strategy": [b"auto"],
        "timestamp_granularities[]": [b"word", b"segment"],
        "file": [b"RIFF\r\n--x\r\n"],
    }
    assert form_of(sent)["file"][0][1:] == ("a%22b.wav", "audio/wav")


def test_translation_has_no_language() -> None:
    sent = encode(call(TranscribeAudioRequest(audio=WAV, translate=True, language="de")))

    assert sent.url == "http://up/v1/audio/translations"
    assert form_of(sent).keys() == {"model", "response_format", "file"}
    assert form_of(sent)["file"][0][1] == "audio.wav"
    assert [warning.field for warning in sent.warnings] == ["language"]


REFUSED = {
    "reranking at OpenAI": (call(RerankDocumentsRequest(query="q", documents=["a"]), vendor="openai"), "model"),
    "vectors where there are none": (call(EmbedContentRequest(texts=["a"]), vendor="deepseek"), "model"),
    "pictures among texts": (call(ModerateContentRequest(parts=[Part(text="a"), Part(image=WAV)])), "parts"),
    "a picture by id": (call(ModerateContentRequest(parts=[Part(image=Media(file_id="f"))])), "parts[0].image.file_id"),
    "strictly": (call(EmbedContentRequest(texts=["a"], purpose="x", strict=True)), "purpose"),
}


@pytest.mark.parametrize(("made", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal(made: OperationCall, field: str) -> None:
    with pytest.raises(GatewayError) as caught:
        encode(made)

    assert (caught.value.reason_name, caught.value.field) == ("UNSUPPORTED_FEATURE", field)


def test_nobody_counts_tokens_here() -> None:
    assert CountTokensRequest not in OPENAI_OPERATIONS


TEXTS = call(EmbedContentRequest(texts=["a", "b"]))


def test_vectors_come_in_the_order_of_the_texts_in_either_encoding() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.25, -1.0)).decode()
    answer = decode(
        TEXTS,
        {
            "model": "m-1",
            "data": [{"index": 1, "embedding": [0.5, 2]}, {"index": 0, "embedding": packed}],
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        },
    )

    assert [list(each.values) for each in answer.embeddings] == [[0.25, -1.0], [0.5, 2.0]]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 0)
    assert answer.serving.upstream_model == "m-1"


def test_long_vectors_come_whole() -> None:
    values = [float(number) for number in range(4096)]
    packed = base64.b64encode(struct.pack("<4096f", *values)).decode()
    answer = decode(call(EmbedContentRequest(texts=["a"])), {"data": [{"embedding": packed}]})

    assert list(answer.embeddings[0].values) == values


def test_ranks_are_put_in_order() -> None:
    made = call(RerankDocumentsRequest(query="q", documents=["a", "b"]))
    results = [{"index": 0, "relevance_score": 0.1, "document": {"text": "a"}}, {"index": 1, "relevance_score": 0.9}]
    answer = decode(made, {"results": results, "usage": {"total_tokens": 5}})

    assert [result.index for result in answer.results] == [1, 0]
    assert answer.usage.input_tokens == 5


def test_judgements() -> None:
    made = call(ModerateContentRequest(parts=[Part(text="a")]))
    result = {"flagged": True, "categories": {"hate": True, "sex": False}, "category_scores": {"hate": 0.9}}
    answer = decode(made, {"id": "modr-1", "model": "omni", "results": [result]})

    assert answer.response_id == "modr-1"
    assert [(each.category, each.flagged, each.score) for each in answer.judgements[0].categories] == [
        ("hate", True, 0.9),
        ("sex", False, 0.0),
    ]


def test_transcript_with_times() -> None:
    body = {
        "text": "Hi you",
        "language": "english",
        "duration": "1.5",
        "segments": [{"text": "Hi you", "start": 0, "end": 1.5}],
        "words": [{"word": "Hi", "start": 0.0, "end": 0.25}],
        "usage": {"type": "tokens", "input_tokens": 4, "input_token_details": {"audio_tokens": 3}, "output_tokens": 2},
    }
    answer = decode(call(TranscribeAudioRequest(audio=WAV, format="verbose_json")), body)

    assert (answer.text, answer.language, answer.duration.ToMilliseconds()) == ("Hi you", "english", 1500)
    assert answer.words[0].end_offset.ToMilliseconds() == 250
    assert (answer.usage.input_tokens, answer.usage.input_audio_tokens, answer.usage.output_tokens) == (4, 3, 2)


def test_subtitles_are_no_json() -> None:
    made = call(TranscribeAudioRequest(audio=WAV, format="srt"))

    assert decode(made, b"1\n00:00:00,000 --> 00:00:01,000\nHi\n").text.startswith("1\n")


def test_pictures() -> None:
    made = call(GenerateImagesRequest(prompt="A cat"))
    data = [{"b64_json": "eA==", "revised_prompt": "The cat"}, {"url": "https://pictures.example/1.png"}]
    answer = decode(made, {"data": data, "output_format": "webp", "usage": {"input_tokens": 3, "output_tokens": 9}})

    assert (answer.images[0].image.data, answer.images[0].image.mime_type) == (b"x", "image/webp")
    assert answer.images[0].revised_prompt == "The cat"
    assert answer.images[1].image.url == "https://pictures.example/1.png"
    assert answer.usage.output_tokens == 9


PROTOCOL = {
    "no JSON": (TEXTS, b"<html>"),
    "no object": (TEXTS, []),
    "a vector too few": (TEXTS, {"data": [{"index": 0, "embedding": [1]}]}),
    "a vector twice": (TEXTS, {"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}),
    "no vector": (TEXTS, {"data": [{"embedding": [1]}, {"embedding": []}]}),
    "a vector of texts": (TEXTS, {"data": [{"embedding": ["1"]}, {"embedding": [1]}]}),
    "a vector of half a number": (TEXTS, {"data": [{"embedding": "AAA="}, {"embedding": [1]}]}),
    "a vector that is no number": (TEXTS, {"data": [{"embedding": "AADAfw=="}, {"embedding": [1]}]}),
    "broken base64": (TEXTS, {"data": [{"embedding": "A"}, {"embedding": [1]}]}),
    "a rank out of range": (
        call(RerankDocumentsRequest(query="q", documents=["a"])),
        {"results": [{"index": 1, "relevance_score": 1}]},
    ),
    "a rank twice": (
        call(RerankDocumentsRequest(query="q", documents=["a"])),
        {"results": [{"index": 0, "relevance_score": 1}] * 2},
    ),
    "no judgement": (call(ModerateContentRequest(parts=[Part(text="a")])), {"results": []}),
    "a text that is a number": (call(TranscribeAudioRequest(audio=WAV)), {"text": 5}),
    "a time that is none": (
        call(TranscribeAudioRequest(audio=WAV)),
        {"text": "a", "words": [{"word": "a", "start": [], "end": 1}]},
    ),
    "no picture": (call(GenerateImagesRequest(prompt="A cat")), {"data": []}),
    "half a picture": (call(GenerateImagesRequest(prompt="A cat")), {"data": [{"b64_json": "e"}]}),
}


@pytest.mark.parametrize(("made", "body"), PROTOCOL.values(), ids=PROTOCOL.keys())
def test_what_is_no_answer(made: OperationCall, body: object) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(made, body)

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"


def test_html_is_no_transcript() -> None:
    with pytest.raises(GatewayError) as caught:
        decode(call(TranscribeAudioRequest(audio=WAV, format="text")), b"<html>", HTML)

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"


def test_an_error_within_an_answer_keeps_its_reason() -> None:
    with pytest.raises(GatewayError) as caught:
        decode(TEXTS, {"error": {"message": "Too long", "code": "context_length_exceeded"}})

    assert caught.value.reason_name == "CONTEXT_LENGTH_EXCEEDED"


def test_a_refusal_names_our_field() -> None:
    operation = OPENAI_OPERATIONS[EmbedContentRequest]
    error = operation.failure(400, {}, b'{"error": {"message": "Too long", "param": "input[3]"}}')

    assert (error.reason_name, error.field) == ("PROVIDER_REJECTED_REQUEST", "texts")


class TestSpeech:
    """Sound, piece by piece."""

    made = call(SynthesizeSpeechRequest(text="Hi", voice="alloy", format="opus"))

    @pytest.mark.parametrize(
        ("told", "mime_type"),
        [("audio/mpeg", "audio/mpeg"), ("", "audio/ogg"), ("application/octet-stream", "audio/ogg")],
    )
    def test_pieces_pass_through(self, told: str, mime_type: str) -> None:
        operation = OPENAI_OPERATIONS[SynthesizeSpeechRequest]
        assert isinstance(operation, StreamedFormat)
        decoder = operation.decoder(self.made, {"content-type": told})

        first, second, last = decoder.feed(b"a"), decoder.feed(b"b"), decoder.end()

        assert first == SynthesizeSpeechResponse(data=b"a", mime_type=mime_type)
        assert second == SynthesizeSpeechResponse(data=b"b")
        assert last.HasField("serving")

    @pytest.mark.parametrize("told", ["text/html", "application/json"])
    def test_what_is_no_sound(self, told: str) -> None:
        operation = OPENAI_OPERATIONS[SynthesizeSpeechRequest]
        assert isinstance(operation, StreamedFormat)
        with pytest.raises(GatewayError) as caught:
            operation.decoder(self.made, {"content-type": told})

        assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"

    def test_silence_is_no_sound(self) -> None:
        operation = OPENAI_OPERATIONS[SynthesizeSpeechRequest]
        assert isinstance(operation, StreamedFormat)
        with pytest.raises(GatewayError):
            operation.decoder(self.made, {}).end()
