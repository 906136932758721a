"""The JSON operations of OpenAI's surface that are not conversations: how each is read, and how it is answered."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, cast

from google.api.httpbody_pb2 import HttpBody
from typing_extensions import TypeVar

from llmgateway.v1.chat_service_pb2 import EmbedContentRequest, EmbedContentResponse, Embedding
from llmgateway.v1.content_pb2 import Part, Usage
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    GenerateImagesResponse,
    ModerateContentRequest,
    ModerateContentResponse,
    RerankDocumentsRequest,
    RerankDocumentsResponse,
)
from llmgateway_server.api.openai import fields
from llmgateway_server.api.openai.fields import Json
from llmgateway_server.api.openai.request import parse_body, read_parts
from llmgateway_server.errors import invalid_field, unsupported
from llmgateway_server.ports.operations import OperationRequest, OperationResponse

JSON = "application/json"
_FLOAT_BYTES = 4

AnswerT = TypeVar("AnswerT", bound=OperationResponse, default=Any)


@dataclass(frozen=True, slots=True)
class OperationBody(Generic[AnswerT]):
    """A request as read: what goes to the pipeline, and how its answer is written."""

    request: OperationRequest
    answer: type[AnswerT]
    """What the pipeline answers with."""
    write: Callable[[AnswerT], Any]
    """The answer as JSON, or as text where the caller wants it so. `Any`: a JSON value."""
    unknown: tuple[str, ...] = ()
    """Fields that no proto names. They pass through to providers of this dialect."""
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class OperationDialect:
    """One operation of the surface."""

    read: Callable[[HttpBody], OperationBody]
    names: Mapping[str, str]
    """Fields of the native request that have another name here."""

    def name_of(self, field: str) -> str:
        """The dialect's name for a field of the native request."""
        for native, name in self.names.items():
            if field == native or field.startswith((native + ".", native + "[")):
                return name + field.removeprefix(native)
        return field


def pass_unknown(request: Any, body: Json, known: Collection[str]) -> tuple[str, ...]:
    """Keeps what no proto names for providers of this dialect, and returns its names. `Any`: any such request."""
    for name, options in (fields.mapping(body, "provider_options") or {}).items():
        request.provider_options[name] = fields.json_text(options, f"provider_options.{name}")
    shared = ("model", "provider_options", "strict")
    unknown = {
        name: value for name, value in body.items() if name not in known and name not in shared and value is not None
    }
    if unknown:
        own = fields.mapping(fields.mapping(body, "provider_options") or {}, "openai", "provider_options.") or {}
        request.provider_options["openai"] = fields.json_text({**unknown, **own}, "body")
    return tuple(unknown)


def usage_json(usage: Usage) -> Json:
    """Tokens as operations without a text for an answer tell them."""
    return {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens + usage.output_tokens}


def _read_embeddings(sent: HttpBody) -> OperationBody[EmbedContentResponse]:
    body = parse_body(sent.data)
    request = EmbedContentRequest(
        model=fields.required_text(body, "model"),
        texts=_texts(body),
        end_user=fields.text(body, "user"),
        strict=fields.boolean(body, "strict") or False,
    )
    dimensions = fields.integer(body, "dimensions", low=1, high=2**31 - 1)
    if dimensions is not None:
        request.dimensions = dimensions
    encoding = fields.text(body, "encoding_format", default="float")
    if encoding not in ("float", "base64"):
        raise invalid_field("encoding_format", f"must be float or base64; got {encoding!r}.")
    unknown = pass_unknown(request, body, ("input", "dimensions", "encoding_format", "user"))

    def write(answer: EmbedContentResponse) -> Json:
        shape = _base64 if encoding == "base64" else _floats
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": shape(each)}
                for index, each in enumerate(answer.embeddings)
            ],
            "model": answer.serving.upstream_model,
            "usage": usage_json(answer.usage),
        }

    return OperationBody(request, EmbedContentResponse, write, unknown)


def _texts(body: Json) -> list[str]:
    """The texts of `input`: one, or an array of them. Tokens are the model's own, which others would misread."""
    value: object = body.get("input")
    if isinstance(value, str):
        return [value]
    items = fields.array(body, "input")
    if items is None:
        raise invalid_field("input", "is required.")
    for index, item in enumerate(items):
        if isinstance(item, (int, list)) and not isinstance(item, bool):
            raise unsupported("input", "arrays of tokens are not taken; send texts.")
        if not isinstance(item, str):
            raise fields.wrong_type(f"input[{index}]", "a string", item)
    return cast("list[str]", items)


def _floats(embedding: Embedding) -> list[float]:
    return list(embedding.values)


def _base64(embedding: Embedding) -> str:
    # A vector is the only field of the message, and protobuf has its numbers as the dialect wants them.
    packed = embedding.SerializeToString()[-_FLOAT_BYTES * len(embedding.values) :]
    return base64.b64encode(packed).decode()


def _read_moderation(sent: HttpBody) -> OperationBody[ModerateContentResponse]:
    body = parse_body(sent.data)
    request = ModerateContentRequest(model=fields.required_text(body, "model"))
    value: object = body.get("input")
    if isinstance(value, list) and any(isinstance(item, dict) for item in cast("list[object]", value)):
        request.parts.extend(read_parts("input", cast("list[object]", value)))
    else:
        request.parts.extend(Part(text=text) for text in _texts(body))
    unknown = pass_unknown(request, body, ("input",))

    def write(answer: ModerateContentResponse) -> Json:
        results = [
            {
                "flagged": judgement.flagged,
                "categories": {each.category: each.flagged for each in judgement.categories},
                "category_scores": {each.category: each.score for each in judgement.categories},
            }
            for judgement in answer.judgements
        ]
        return {"id": answer.response_id, "model": answer.serving.upstream_model, "results": results}

    return OperationBody(request, ModerateContentResponse, write, unknown)


def _read_rerank(sent: HttpBody) -> OperationBody[RerankDocumentsResponse]:
    body = parse_body(sent.data)
    request = RerankDocumentsRequest(
        model=fields.required_text(body, "model"),
        query=fields.required_text(body, "query"),
        documents=_documents(body),
        strict=fields.boolean(body, "strict") or False,
    )
    for name, native in (("top_n", "top_n"), ("max_tokens_per_doc", "max_tokens_per_document")):
        most = fields.integer(body, name, low=1, high=2**31 - 1)
        if most is not None:
            setattr(request, native, most)
    with_documents = fields.boolean(body, "return_documents") or False
    unknown = pass_unknown(request, body, ("query", "documents", "top_n", "max_tokens_per_doc", "return_documents"))

    def write(answer: RerankDocumentsResponse) -> Json:
        results: list[Json] = []
        for each in answer.results:
            result: Json = {"index": each.index, "relevance_score": each.relevance_score}
            if with_documents:
                result["document"] = {"text": request.documents[each.index]}
            results.append(result)
        return {
            "object": "list",
            "model": answer.serving.upstream_model,
            "results": results,
            "usage": usage_json(answer.usage),
        }

    return OperationBody(request, RerankDocumentsResponse, write, unknown)


def _documents(body: Json) -> list[str]:
    documents: list[str] = []
    for index, item in enumerate(fields.array(body, "documents") or []):
        where = f"documents[{index}]"
        if isinstance(item, dict):
            documents.append(fields.required_text(cast("Json", item), "text", f"{where}."))
        elif isinstance(item, str):
            documents.append(item)
        else:
            raise fields.wrong_type(where, "a string", item)
    return documents


def _read_images(sent: HttpBody) -> OperationBody[GenerateImagesResponse]:
    body = parse_body(sent.data)
    if fields.boolean(body, "stream"):
        raise unsupported("stream", "pictures come whole; leave it out.")
    wanted = fields.text(body, "response_format", default="b64_json")
    if wanted not in ("b64_json", "url"):
        raise invalid_field("response_format", f"must be b64_json or url; got {wanted!r}.")
    request = GenerateImagesRequest(
        model=fields.required_text(body, "model"),
        prompt=fields.required_text(body, "prompt"),
        size=fields.text(body, "size"),
        quality=fields.text(body, "quality"),
        style=fields.text(body, "style"),
        as_url=wanted == "url",
        end_user=fields.text(body, "user"),
        strict=fields.boolean(body, "strict") or False,
    )
    count = fields.integer(body, "n", low=1, high=2**31 - 1)
    if count is not None:
        request.count = count
    known = ("prompt", "size", "quality", "style", "response_format", "user", "n", "stream")
    return OperationBody(request, GenerateImagesResponse, _images_json, pass_unknown(request, body, known))


def _images_json(answer: GenerateImagesResponse) -> Json:
    data: list[Json] = []
    for each in answer.images:
        image: Json = {}
        if each.image.WhichOneof("source") == "url":
            image["url"] = each.image.url
        else:
            image["b64_json"] = base64.b64encode(each.image.data).decode()
        if each.revised_prompt:
            image["revised_prompt"] = each.revised_prompt
        data.append(image)
    body: Json = {"created": int(answer.serving.attempts[-1].start_time.seconds), "data": data}
    if answer.usage.ByteSize():
        used = answer.usage
        body["usage"] = {
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "total_tokens": used.input_tokens + used.output_tokens,
        }
    return body


EMBEDDINGS = OperationDialect(_read_embeddings, {"texts": "input", "end_user": "user"})
MODERATIONS = OperationDialect(_read_moderation, {"parts": "input"})
RERANK = OperationDialect(_read_rerank, {"max_tokens_per_document": "max_tokens_per_doc"})
IMAGES = OperationDialect(_read_images, {"count": "n", "as_url": "response_format", "end_user": "user"})
