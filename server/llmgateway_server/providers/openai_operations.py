"""What OpenAI's dialect can do besides conversations: vectors, orders and judgements here, sound and pictures beside.

Its kin go by the same paths. Reranking is not OpenAI's own; the shape is the one of Jina, which vLLM, llama.cpp and
others took over.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from math import isfinite
from typing import cast

from llmgateway.v1.chat_service_pb2 import EmbedContentRequest, EmbedContentResponse, Embedding, Serving
from llmgateway.v1.content_pb2 import Media, Part
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    Judgement,
    ModerateContentRequest,
    ModerateContentResponse,
    RankedDocument,
    RerankDocumentsRequest,
    RerankDocumentsResponse,
    SynthesizeSpeechRequest,
    TranscribeAudioRequest,
)
from llmgateway_server.errors import GatewayError, unsupported
from llmgateway_server.ports.operations import OperationCall
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    count_of,
    details_of,
    json_object,
    json_objects,
    text_of,
)
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.openai_media import GeneratedImages, Speech, Transcription
from llmgateway_server.providers.openai_operation import (
    post_json,
    read_failure,
    read_object,
    unreadable,
    usage_of,
    vendor_with,
)
from llmgateway_server.providers.operations import Operations
from llmgateway_server.providers.vendors import Operation
from llmgateway_server.providers.wire import Headers, HttpRequest

_FLOAT_BYTES = 4
_VALUES = b"\x0a"
"""Key of `Embedding.values` on the wire: field 1, a run of bytes."""


class Embeddings:
    """Turns texts into vectors."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("EmbedContentRequest", call.request)
        vendor = vendor_with(call, Operation.EMBEDDINGS)
        profile, omissions = vendor.profile, Omissions(strict=request.strict)
        body: Json = {"model": call.endpoint.upstream_model, "input": list(request.texts)}
        if profile.base64_embeddings:
            body["encoding_format"] = "base64"
        if request.HasField("dimensions"):
            if profile.dimensions:
                body[profile.dimensions] = request.dimensions
            else:
                omissions.ignore("dimensions", "the provider's vectors have one length only.")
        if request.purpose:
            omissions.ignore("purpose", "the provider does not ask what vectors are for.")
        if request.end_user:
            if profile.end_user:
                body["user"] = request.end_user
            else:
                omissions.ignore("end_user", "the provider takes no end user.")
        return post_json(call, vendor, Operation.EMBEDDINGS, body, omissions)

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> EmbedContentResponse:
        answer = read_object(body)
        count = len(cast("EmbedContentRequest", call.request).texts)
        try:
            vectors = _in_order(json_objects(answer.get("data")), count)
            response = EmbedContentResponse(embeddings=[_vector(each.get("embedding")) for each in vectors])
            response.serving.CopyFrom(Serving(upstream_model=text_of(answer, "model")))
        except UNREADABLE as error:
            raise unreadable() from error
        response.usage.CopyFrom(usage_of(answer))
        return response

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return read_failure(status, body, {"input": "texts", "dimensions": "dimensions", "user": "end_user"})


def _in_order(items: list[Json], count: int) -> list[Json]:
    """The items by their `index`, which must be there once each. Raises `Malformed` otherwise."""
    placed = {count_of(item, "index") if "index" in item else place: item for place, item in enumerate(items)}
    if len(items) != count or placed.keys() != set(range(count)):
        raise Malformed
    return [placed[place] for place in range(count)]


def _vector(value: object) -> Embedding:
    """A vector as numbers or as base64, whichever the provider sent."""
    if not isinstance(value, str):
        vector = Embedding(values=cast("list[float]", value))
    else:
        try:
            packed = b64decode(value, validate=True)
        except binascii.Error as error:
            raise Malformed from error
        if len(packed) % _FLOAT_BYTES:
            raise Malformed
        # What is packed are little-endian floats, which is how protobuf has them too.
        vector = Embedding.FromString(_VALUES + _length(len(packed)) + packed)
    # A sum tells whether there is any NaN or infinity among them.
    if not vector.values or not isfinite(sum(vector.values)):
        raise Malformed
    return vector


def _length(count: int) -> bytes:
    """A number as protobuf writes lengths."""
    digits = bytearray()
    while count > 127:  # noqa: PLR2004 - seven bits a byte
        digits.append(count & 127 | 128)
        count >>= 7
    digits.append(count)
    return bytes(digits)


class Rerank:
    """Orders documents."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("RerankDocumentsRequest", call.request)
        vendor = vendor_with(call, Operation.RERANK)
        omissions = Omissions(strict=request.strict)
        body: Json = {
            "model": call.endpoint.upstream_model,
            "query": request.query,
            "documents": list(request.documents),
        }
        if request.HasField("top_n"):
            body["top_n"] = request.top_n
        if request.HasField("max_tokens_per_document"):
            omissions.ignore("max_tokens_per_document", "the provider reads documents to their end.")
        return post_json(call, vendor, Operation.RERANK, body, omissions)

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> RerankDocumentsResponse:
        answer = read_object(body)
        count = len(cast("RerankDocumentsRequest", call.request).documents)
        try:
            results = [_ranked(result, count) for result in json_objects(answer.get("results"))]
            serving = Serving(upstream_model=text_of(answer, "model"))
        except UNREADABLE as error:
            raise unreadable() from error
        if len({result.index for result in results}) != len(results):
            raise unreadable()
        results.sort(key=lambda result: -result.relevance_score)
        units = count_of(details_of(details_of(answer, "meta"), "billed_units"), "search_units")
        return RerankDocumentsResponse(results=results, usage=usage_of(answer), search_units=units, serving=serving)

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return read_failure(status, body, {"query": "query", "documents": "documents", "top_n": "top_n"})


def _ranked(result: Json, count: int) -> RankedDocument:
    index, score = result.get("index"), result.get("relevance_score")
    if not isinstance(index, int) or not 0 <= index < count or not isinstance(score, (int, float)):
        raise Malformed
    if not isfinite(score):
        raise Malformed
    return RankedDocument(index=index, relevance_score=score)


class Moderations:
    """Judges texts and pictures."""

    def encode(self, call: OperationCall) -> HttpRequest:
        request = cast("ModerateContentRequest", call.request)
        vendor = vendor_with(call, Operation.MODERATIONS)
        if all(part.WhichOneof("content") == "text" for part in request.parts):
            content: object = [part.text for part in request.parts]
        elif len(request.parts) == 1:
            content = [_picture(request.parts[0])]
        else:
            raise unsupported("parts", "the provider judges a picture together with what is beside it; send it alone.")
        body: Json = {"model": call.endpoint.upstream_model, "input": content}
        return post_json(call, vendor, Operation.MODERATIONS, body, Omissions(strict=False))

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> ModerateContentResponse:
        answer = read_object(body)
        try:
            results = json_objects(answer.get("results"))
            response = ModerateContentResponse(
                response_id=text_of(answer, "id"),
                judgements=[_judgement(result) for result in results],
                serving=Serving(upstream_model=text_of(answer, "model")),
            )
        except UNREADABLE as error:
            raise unreadable() from error
        if len(results) != len(cast("ModerateContentRequest", call.request).parts):
            raise unreadable()
        return response

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return read_failure(status, body, {"input": "parts"})


def _picture(part: Part) -> Json:
    return {"type": "image_url", "image_url": {"url": _address(part.image)}}


def _address(image: Media) -> str:
    if image.WhichOneof("source") == "file_id":
        raise unsupported("parts[0].image.file_id", "the provider takes pictures as bytes or by their addresses.")
    return image.url or f"data:{image.mime_type};base64,{b64encode(image.data).decode()}"


def _judgement(result: Json) -> Judgement:
    flags = json_object(result.get("categories"))
    scores = details_of(result, "category_scores")
    judgement = Judgement(flagged=bool(result.get("flagged")))
    for name, flagged in flags.items():
        score = scores.get(name)
        judgement.categories.add(
            category=name, flagged=bool(flagged), score=score if isinstance(score, (int, float)) else 0.0
        )
    return judgement


OPENAI_OPERATIONS: Operations = {
    EmbedContentRequest: Embeddings(),
    RerankDocumentsRequest: Rerank(),
    ModerateContentRequest: Moderations(),
    TranscribeAudioRequest: Transcription(),
    SynthesizeSpeechRequest: Speech(),
    GenerateImagesRequest: GeneratedImages(),
}
