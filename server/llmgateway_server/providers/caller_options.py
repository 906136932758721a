"""Reads the caller's own fields for one wire format, and merges them into what is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway_server.errors import invalid_field
from llmgateway_server.providers.omissions import Omissions


def caller_options(request: ChatRequest, wire_format: str) -> dict[str, Any]:
    """The caller's fields; none where there are none. Raises INVALID_FIELD for what is not a JSON object."""
    if wire_format not in request.provider_options:
        return {}
    try:
        options: object = orjson.loads(request.provider_options[wire_format])
    except orjson.JSONDecodeError:
        options = None
    if not isinstance(options, dict):
        raise invalid_field(f"provider_options.{wire_format}", "must be a JSON object, as text.")
    return cast("dict[str, Any]", options)


def merge_options(
    target: dict[str, Any],
    options: Mapping[str, object],
    omissions: Omissions,
    *,
    field: str,
    reserved: Collection[str] = (),
) -> None:
    """Adds the options that the target does not have. What the request says in typed fields stands.

    `field` is where the request has the options, such as `provider_options.ollama`.
    """
    for name, value in options.items():
        if name in target or name in reserved:
            omissions.ignore(f"{field}.{name}", "the gateway sets this field by itself.")
        else:
            target[name] = value
