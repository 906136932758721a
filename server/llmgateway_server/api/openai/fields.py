"""Read fields of a JSON body, each checked and each error naming the field as the caller wrote it."""

from __future__ import annotations

from typing import Any, cast

import orjson

from llmgateway_server.errors import invalid_field

Json = dict[str, Any]
"""A JSON object as a caller sent it. `Any`: nothing is known of the values until they are read."""

_NAMES: dict[type, str] = {str: "a string", bool: "a boolean", dict: "an object", list: "an array", int: "an integer"}


def wrong_type(field: str, wanted: str, value: object) -> Exception:
    """The error for a value of another type."""
    return invalid_field(field, f"must be {wanted}; got {_describe(value)}.")


def _describe(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    return _NAMES.get(type(value), "something else")


def text(body: Json, name: str, where: str = "", default: str = "") -> str:
    """A string; null and absence are the default."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise wrong_type(where + name, "a string", value)
    return value


def required_text(body: Json, name: str, where: str = "") -> str:
    """A string that must be there and not be empty."""
    value = text(body, name, where)
    if not value:
        raise invalid_field(where + name, "is required.")
    return value


def boolean(body: Json, name: str, where: str = "") -> bool | None:
    """A boolean, or None."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(where + name, "a boolean", value)
    return value


def number(body: Json, name: str, where: str = "") -> float | None:
    """A number, or None."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(where + name, "a number", value)
    return float(value)


def integer(body: Json, name: str, where: str = "", *, low: int = -(2**63), high: int = 2**63 - 1) -> int | None:
    """A whole number within bounds, or None."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(where + name, "an integer", value)
    if not low <= value <= high:
        raise invalid_field(where + name, f"must be from {low} to {high}; got {value}.")
    return value


def mapping(body: Json, name: str, where: str = "") -> Json | None:
    """An object, or None."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(where + name, "an object", value)
    return cast("Json | None", value)


def array(body: Json, name: str, where: str = "") -> list[Any] | None:
    """An array, or None. `Any`: its items are yet to be read."""
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise wrong_type(where + name, "an array", value)
    return cast("list[Any] | None", value)


def json_text(value: object, where: str) -> str:
    """A value as JSON text. It came from JSON, so only its depth can be in the way."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise invalid_field(where, "is nested too deep.") from error


def objects(items: list[Any], where: str) -> list[tuple[str, Json]]:
    """The items of an array that must all be objects, each with its place."""
    placed: list[tuple[str, Json]] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise wrong_type(f"{where}[{index}]", "an object", item)
        placed.append((f"{where}[{index}]", cast("Json", item)))
    return placed
