"""Structured output for models that have none: a tool that the model is made to call, whose input is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import ResponseFormat
from llmgateway_server.errors import unsupported

_FIELD = "generation.response_format"
_ANY_OBJECT = '{"type":"object"}'
_INSTRUCTION = "Call this tool to give the answer. Its input is the whole answer."


@dataclass(frozen=True, slots=True)
class AnswerTool:
    """The tool. Its name is none of the caller's own tools'."""

    name: str
    description: str
    schema: str
    """The JSON schema of the answer, as JSON text; always of an object."""


def wants_json(request: ChatRequest) -> bool:
    """Whether the answer is to be JSON."""
    return request.generation.response_format.type in (
        ResponseFormat.TYPE_JSON_OBJECT,
        ResponseFormat.TYPE_JSON_SCHEMA,
    )


def answer_tool(request: ChatRequest) -> AnswerTool:
    """The tool for a request that wants JSON; the same one for the same request.

    Raises UNSUPPORTED_FEATURE for a schema of anything but an object, since that is what the input of a tool is.
    """
    wanted = request.generation.response_format
    schema = wanted.schema if wanted.type == ResponseFormat.TYPE_JSON_SCHEMA else _ANY_OBJECT
    parsed: object = orjson.loads(schema)
    if not isinstance(parsed, dict) or cast("Mapping[str, object]", parsed).get("type") != "object":
        raise unsupported(f"{_FIELD}.schema", "the provider can be held only to a schema whose type is 'object'.")
    taken = {tool.function.name or tool.custom.name for tool in request.tools}
    names = chain((wanted.name or "answer",), (f"answer_{number}" for number in count(1)))
    description = f"{wanted.description}\n{_INSTRUCTION}" if wanted.description else _INSTRUCTION
    return AnswerTool(next(name for name in names if name not in taken), description, schema)


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether every object of a schema allows only the properties that it names.

    Providers that hold a model to a schema token by token want it so.
    """
    is_object = schema.get("type") == "object" or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        return False
    return all(is_closed(cast("Mapping[str, Any]", inner)) for inner in _inner(schema) if isinstance(inner, dict))


def _inner(schema: Mapping[str, Any]) -> chain[object]:
    """The schemas within a schema."""
    named = (
        schema[key].values() for key in ("properties", "$defs", "definitions") if isinstance(schema.get(key), dict)
    )
    listed = (schema[key] for key in ("anyOf", "allOf", "oneOf", "prefixItems") if isinstance(schema.get(key), list))
    return chain(chain.from_iterable(named), chain.from_iterable(listed), (schema.get("items"),))
