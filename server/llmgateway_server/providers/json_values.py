"""Reads values out of a provider's JSON, whose shape is a promise that need not be kept.

A value of a wrong kind raises; what is missing, null or false is empty, since providers write these three alike.
"""

from __future__ import annotations

from typing import Any, cast

Json = dict[str, Any]
"""A JSON object as it came. Any: what it holds is looked at before it is used."""


class Malformed(ValueError):
    """A value is not what the dialect allows."""


UNREADABLE = (ValueError, TypeError, OverflowError)
"""What reading raises for values of wrong kinds and sizes: whoever wrote them, it is the frame that is malformed."""

_EMPTY: Json = {}


def json_object(value: object) -> Json:
    """The value as an object. Raises `Malformed` for anything else."""
    if isinstance(value, dict):
        # Written without `cast`, which is a call, since this runs for every chunk.
        fields: Json = value  # pyright: ignore[reportUnknownVariableType]
        return fields
    raise Malformed


def json_list(value: object) -> list[object]:
    """The value as a list. Raises `Malformed` for anything else."""
    if not isinstance(value, list):
        raise Malformed
    return cast("list[object]", value)


def json_objects(value: object) -> list[Json]:
    """The value as a list of objects. Raises `Malformed` for anything else."""
    return [json_object(item) for item in json_list(value)]


def json_text(value: object) -> str:
    """The value as a text. Raises `Malformed` for anything else."""
    if not isinstance(value, str):
        raise Malformed
    return value


def text_of(fields: Json, name: str) -> str:
    """A text field, empty when it is missing. Raises `Malformed` for another kind of value."""
    value = fields.get(name)
    return json_text(value) if value else ""


def details_of(fields: Json, name: str) -> Json:
    """An object that nothing depends on: empty when it is missing or of another kind."""
    value = fields.get(name)
    return cast("Json", value) if isinstance(value, dict) else _EMPTY


def count_of(fields: Json, name: str) -> int:
    """A count that nothing depends on: 0 when it is missing, negative or of another kind."""
    value = fields.get(name)
    if isinstance(value, str):
        # 64-bit numbers are texts where protobuf writes JSON.
        return int(value) if value.isascii() and value.isdigit() else 0
    return max(int(value), 0) if isinstance(value, (int, float)) else 0


def check_depth(value: object, left: int) -> None:
    """Raises `Malformed` for values nested more than `left` levels deep."""
    if not left:
        raise Malformed
    if isinstance(value, dict):
        for inner in cast("Json", value).values():
            check_depth(inner, left - 1)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            check_depth(inner, left - 1)
