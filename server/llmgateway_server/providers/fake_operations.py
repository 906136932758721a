"""What the fake provider does besides conversations: answers that follow from the request, without a network.

Vectors are made of the words of a text, so that texts with words in common are close. Documents are ordered by the
words that they share with the query. A text is harmful if it has the word `harmful` in it. Words stand for tokens.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from hashlib import blake2b
from math import sqrt
from typing import Any

from llmgateway.v1.chat_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    EmbedContentRequest,
    EmbedContentResponse,
    Embedding,
    Serving,
)
from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.content_service_pb2 import (
    JudgedCategory,
    Judgement,
    ModerateContentRequest,
    ModerateContentResponse,
    RankedDocument,
    RerankDocumentsRequest,
    RerankDocumentsResponse,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
)
from llmgateway_server.errors import invalid_field
from llmgateway_server.events import text_of
from llmgateway_server.ports.operations import OperationCall, OperationResponse
from llmgateway_server.providers.openai_media import SPEECH_TYPES
from llmgateway_server.providers.operations import cannot

DIMENSIONS = 64
"""Length of a vector where the request says none."""

MAX_VALUES = 262_144
"""Most numbers of one answer, all vectors together. They are computed while everybody else waits."""

_WORDS = re.compile(r"\w+")
_SPEECH_BYTES = 1_024
"""Bytes of sound a word."""


class FakeOperations:
    """An `OperationAdapter` that answers by itself."""

    async def run(self, call: OperationCall) -> AsyncGenerator[OperationResponse]:
        answer = _ANSWERS.get(type(call.request))
        if answer is None:
            raise cannot(call)
        for message in answer(call.request):
            if message.HasField("serving"):
                message.serving.upstream_model = call.endpoint.upstream_model
            yield message


def _embed(request: EmbedContentRequest) -> Iterable[EmbedContentResponse]:
    dimensions = request.dimensions if request.HasField("dimensions") else DIMENSIONS
    if dimensions * len(request.texts) > MAX_VALUES:
        most = MAX_VALUES // len(request.texts)
        raise invalid_field("dimensions", f"at most {most} here for {len(request.texts)} texts; got {dimensions}.")
    yield EmbedContentResponse(
        embeddings=[Embedding(values=_vector(text, dimensions)) for text in request.texts],
        usage=Usage(input_tokens=sum(len(text.split()) for text in request.texts)),
        serving=Serving(),
    )


def _vector(text: str, dimensions: int) -> list[float]:
    """A vector of length 1: each word adds to one of its places, up or down."""
    values = [0.0] * dimensions
    for word in _WORDS.findall(text.lower()) or [text]:
        digest = blake2b(word.encode(), digest_size=8).digest()
        values[int.from_bytes(digest[:7], "big") % dimensions] += 1.0 if digest[7] & 1 else -1.0
    length = sqrt(sum(value * value for value in values))
    if not length:
        # Words that undo each other still have to point somewhere.
        values[0] = length = 1.0
    return [value / length for value in values]


def _rerank(request: RerankDocumentsRequest) -> Iterable[RerankDocumentsResponse]:
    wanted = set(_WORDS.findall(request.query.lower()))
    results = [
        RankedDocument(index=index, relevance_score=_overlap(wanted, set(_WORDS.findall(document.lower()))))
        for index, document in enumerate(request.documents)
    ]
    results.sort(key=lambda result: -result.relevance_score)
    words = len(request.query.split()) + sum(len(document.split()) for document in request.documents)
    yield RerankDocumentsResponse(
        results=results[: request.top_n] if request.HasField("top_n") else results,
        usage=Usage(input_tokens=words),
        serving=Serving(),
    )


def _overlap(wanted: set[str], found: set[str]) -> float:
    both = wanted | found
    return len(wanted & found) / len(both) if both else 0.0


def _moderate(request: ModerateContentRequest) -> Iterable[ModerateContentResponse]:
    judgements: list[Judgement] = []
    for part in request.parts:
        flagged = "harmful" in _WORDS.findall(part.text.lower())
        category = JudgedCategory(category="harm", flagged=flagged, score=float(flagged))
        judgements.append(Judgement(flagged=flagged, categories=[category]))
    seed = request.SerializeToString(deterministic=True)
    response_id = f"fake-{blake2b(seed, digest_size=12).hexdigest()}"
    yield ModerateContentResponse(response_id=response_id, judgements=judgements, serving=Serving())


def _speak(request: SynthesizeSpeechRequest) -> Iterable[SynthesizeSpeechResponse]:
    """Noise that follows from the words, a message a word."""
    mime_type = SPEECH_TYPES[request.format or "mp3"]
    words = request.text.split() or [request.text]
    for place, word in enumerate(words):
        digest = blake2b(word.encode(), digest_size=32).digest()
        yield SynthesizeSpeechResponse(
            data=digest * (_SPEECH_BYTES // len(digest)), mime_type="" if place else mime_type
        )
    yield SynthesizeSpeechResponse(usage=Usage(input_tokens=len(words)), serving=Serving())


def _count(request: CountTokensRequest) -> Iterable[CountTokensResponse]:
    words = sum(len(text_of(message).split()) for message in request.messages)
    tools = sum(len(f"{tool.function.name} {tool.function.description}".split()) for tool in request.tools)
    yield CountTokensResponse(input_tokens=words + tools, serving=Serving())


_ANSWERS: Mapping[type, Callable[[Any], Iterable[OperationResponse]]] = {
    EmbedContentRequest: _embed,
    RerankDocumentsRequest: _rerank,
    ModerateContentRequest: _moderate,
    SynthesizeSpeechRequest: _speak,
    CountTokensRequest: _count,
}
"""What answers a request, by its type. `Any`: a request of that type."""
