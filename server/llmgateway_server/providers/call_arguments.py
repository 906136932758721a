"""Arguments of earlier tool calls, for providers that take them as an object rather than as text."""

from __future__ import annotations

from typing import Any, cast

import orjson

from llmgateway_server.providers.omissions import Omissions


def arguments_object(text: str, field: str, omissions: Omissions) -> dict[str, Any]:
    """The arguments as an object. A model may write anything; what is no object goes back within one, and is told."""
    try:
        arguments: object = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if isinstance(arguments, dict):
        return cast("dict[str, Any]", arguments)
    omissions.lose(field, "the provider takes only a JSON object; the text goes back within one.")
    return {"arguments": text}
