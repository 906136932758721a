"""OpenAI's surface besides conversations, on the gateway in this process with its fake provider."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, cast

import pytest
from google.protobuf.message_factory import GetMessageClass

from tests.support.calling import GrpcTransport, Reply, openai_message
from tests.support.transcoding import methods
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAKE = {"model": "fake/echo"}
EMBED, MODERATE, RERANK, COMPLETE = "CreateEmbedding", "CreateModeration", "CreateRerank", "CreateCompletion"
SPEAK, DRAW, HEAR = "CreateSpeech", "CreateImage", "CreateTranscription"
FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nfake/echo\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
)


@pytest.fixture
def ask(grpc_transport: GrpcTransport, grpc_world: World) -> Any:
    async def asked(name: str, body: dict[str, Any], *metadata: tuple[str, str]) -> Reply:
        method = methods()[f"OpenAIService/{name}"]
        message = openai_message(method, json.dumps(FAKE | body).encode())
        return await grpc_transport.call(method, message, (*grpc_world.metadata("chat"), *metadata))

    return asked


async def test_vectors(ask: Any) -> None:
    reply = await ask(EMBED, {"input": ["a cat", "a dog"], "dimensions": 3})

    assert reply.code == "OK", reply
    (body,) = reply.messages
    assert (body["object"], body["model"]) == ("list", "fake/echo")
    assert [(each["object"], each["index"], len(each["embedding"])) for each in body["data"]] == [
        ("embedding", 0, 3),
        ("embedding", 1, 3),
    ]
    assert body["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert reply.headers["x-gw-served-model"] == "fake/echo"
    assert reply.headers["x-gw-served-provider"] == "fake"
    assert reply.headers["x-gw-attempts"] == "1"
    assert "x-gw-overhead-ms" in reply.headers


async def test_vectors_as_base64_are_the_same(ask: Any) -> None:
    plain = (await ask(EMBED, {"input": "a cat"})).messages[0]["data"][0]["embedding"]
    packed = (await ask(EMBED, {"input": "a cat", "encoding_format": "base64"})).messages[0]["data"][0]["embedding"]

    assert list(struct.unpack("<64f", base64.b64decode(packed))) == plain


async def test_judgements(ask: Any) -> None:
    (body,) = (await ask(MODERATE, {"input": ["harmful", "kind"]})).messages

    assert [each["flagged"] for each in body["results"]] == [True, False]
    assert body["results"][0]["categories"] == {"harm": True}
    assert body["results"][0]["category_scores"] == {"harm": 1.0}


async def test_order(ask: Any) -> None:
    documents = ["a ship", {"text": "red cat"}]
    (body,) = (
        await ask(RERANK, {"query": "cat", "documents": documents, "top_n": 1, "return_documents": True})
    ).messages

    assert [(each["index"], each["document"]) for each in body["results"]] == [(1, {"text": "red cat"})]


async def test_a_field_that_nobody_knows_is_named(ask: Any) -> None:
    reply = await ask(RERANK, {"query": "cat", "documents": ["a"], "colour": "red"})

    assert "colour" in reply.headers["x-gw-warnings"]


async def test_completion(ask: Any) -> None:
    reply = await ask(COMPLETE, {"prompt": "one two", "logprobs": 1, "max_tokens": 5})

    (body,) = reply.messages
    assert body["object"] == "text_completion"
    (choice,) = body["choices"]
    assert (choice["text"], choice["index"], choice["finish_reason"]) == ("one two", 0, "stop")
    assert choice["logprobs"]["tokens"] == ["one ", "two"]
    assert choice["logprobs"]["text_offset"] == [0, 4]
    assert body["usage"]["total_tokens"] == 4
    assert "prompt" in reply.headers["x-gw-warnings"]


async def test_completions_of_several_prompts(ask: Any) -> None:
    (body,) = (await ask(COMPLETE, {"prompt": ["a", "b"], "n": 2})).messages

    assert [(each["index"], each["text"]) for each in body["choices"]] == [(0, "a"), (1, "a"), (2, "b"), (3, "b")]


async def test_streamed_completion(ask: Any) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": 0}
    reply = await ask(COMPLETE, {"prompt": "one two", **options})

    *chunks, usage, done = reply.messages
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "one two"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks[:2]] == [[0], [4]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 2, "[DONE]")


async def test_speech_comes_piece_by_piece(grpc_transport: GrpcTransport, grpc_world: World) -> None:
    method = methods()[f"OpenAIService/{SPEAK}"]
    body = json.dumps({**FAKE, "input": "one two", "voice": "alloy", "response_format": "wav"}).encode()
    channel = cast("Any", grpc_transport)._channel
    call = channel.unary_stream(
        f"/{method.containing_service.full_name}/{method.name}",
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(openai_message(method, body).SerializeToString(), metadata=tuple(grpc_world.metadata("chat")))

    pieces = [(piece.content_type, len(piece.data)) async for piece in call]

    assert pieces == [("audio/wav", 1024), ("", 1024)]
    assert dict(await call.initial_metadata())["x-gw-served-model"] == "fake/echo"


SPEECH = {"input": "a", "voice": "v"}
REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no text": (EMBED, {}, "INVALID_FIELD", "input"),
    "an empty text": (EMBED, {"input": ["a", ""]}, "INVALID_FIELD", "input[1]"),
    "no texts": (EMBED, {"input": []}, "INVALID_FIELD", "input"),
    "tokens": (EMBED, {"input": [1, 2]}, "UNSUPPORTED_FEATURE", "input"),
    "arrays of tokens": (EMBED, {"input": [[1, 2]]}, "UNSUPPORTED_FEATURE", "input"),
    "a number": (EMBED, {"input": 5}, "INVALID_FIELD", "input"),
    "another encoding": (EMBED, {"input": "a", "encoding_format": "hex"}, "INVALID_FIELD", "encoding_format"),
    "no dimensions": (EMBED, {"input": "a", "dimensions": 0}, "INVALID_FIELD", "dimensions"),
    "too many dimensions": (EMBED, {"input": "a", "dimensions": 999_999_999}, "INVALID_FIELD", "dimensions"),
    "more numbers than the fake computes": (
        EMBED,
        {"input": ["a"] * 2048, "dimensions": 16_384},
        "INVALID_FIELD",
        "dimensions",
    ),
    "a text too long to speak": (SPEAK, SPEECH | {"input": "a" * 32_769}, "INVALID_FIELD", "input"),
    "nothing to judge": (MODERATE, {"input": []}, "INVALID_FIELD", "input"),
    "no query": (RERANK, {"documents": ["a"]}, "INVALID_FIELD", "query"),
    "no documents": (RERANK, {"query": "a"}, "INVALID_FIELD", "documents"),
    "a document that is a number": (RERANK, {"query": "a", "documents": [1]}, "INVALID_FIELD", "documents[0]"),
    "no voice": (SPEAK, {"input": "a"}, "INVALID_FIELD", "voice"),
    "too fast": (SPEAK, SPEECH | {"speed": 9}, "INVALID_FIELD", "speed"),
    "an unknown sound": (
        SPEAK,
        {"input": "a", "voice": "v", "response_format": "x"},
        "INVALID_FIELD",
        "response_format",
    ),
    "speech as events": (
        SPEAK,
        {"input": "a", "voice": "v", "stream_format": "sse"},
        "UNSUPPORTED_FEATURE",
        "stream_format",
    ),
    "too many pictures": (DRAW, {"prompt": "a", "n": 11}, "INVALID_FIELD", "n"),
    "who does not draw": (DRAW, {"prompt": "a"}, "UNSUPPORTED_FEATURE", "model"),
    "no form": (HEAR, {}, "INVALID_FIELD", "body"),
    "no prompt": (COMPLETE, {}, "INVALID_FIELD", "prompt"),
    "a prompt of tokens": (COMPLETE, {"prompt": [1]}, "UNSUPPORTED_FEATURE", "prompt"),
    "a suffix": (COMPLETE, {"prompt": "a", "suffix": "b"}, "UNSUPPORTED_FEATURE", "suffix"),
    "an echo": (COMPLETE, {"prompt": "a", "echo": True}, "UNSUPPORTED_FEATURE", "echo"),
    "the best of many": (COMPLETE, {"prompt": "a", "best_of": 3}, "UNSUPPORTED_FEATURE", "best_of"),
    "too many answers": (COMPLETE, {"prompt": ["a"] * 3, "n": 3}, "INVALID_FIELD", "prompt"),
    "too hot": (COMPLETE, {"prompt": "a", "temperature": 9}, "INVALID_FIELD", "temperature"),
}


@pytest.mark.parametrize(("name", "body", "reason", "param"), REFUSED.values(), ids=REFUSED.keys())
async def test_refusal_names_the_field(ask: Any, name: str, body: dict[str, Any], reason: str, param: str) -> None:
    reply = await ask(name, body)

    assert (reply.code, reply.reason, reply.field) == ("INVALID_ARGUMENT", reason, param), reply
    assert reply.error["error"]["param"] == param


async def test_a_strict_caller_gets_no_completion(ask: Any) -> None:
    reply = await ask(COMPLETE, {"prompt": "a"}, ("x-gw-strict", "true"))

    assert (reply.reason, reply.field) == ("UNSUPPORTED_FEATURE", "prompt")


async def test_an_upload_reaches_the_provider(grpc_transport: GrpcTransport, grpc_world: World) -> None:
    method = methods()[f"OpenAIService/{HEAR}"]
    message = openai_message(method, FORM)
    cast("Any", message).content_type = "multipart/form-data; boundary=b"

    reply = await grpc_transport.call(method, message, grpc_world.metadata("chat"))

    # The fake provider does not hear, and is the first to look at what was uploaded.
    assert (reply.reason, reply.field) == ("UNSUPPORTED_FEATURE", "model"), reply
