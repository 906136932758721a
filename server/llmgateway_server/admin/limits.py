"""Limits that hold for the fields of every resource: lengths, counts, and values that no engine or reader can take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor

from llmgateway_server.admin.behavior import is_map, walk
from llmgateway_server.errors import invalid_field

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from llmgateway_server.admin.behavior import Found

MAX_TEXT: Final = 4096
"""Most characters of a text that `TEXTS` does not name."""

TEXTS: Final[Mapping[str, int]] = {
    "display_name": 128,
    "description": 2000,
    "script": 1_000_000,
    "json_schema": 100_000,
}
"""Most characters of a text, by the name of its field."""

MAX_ITEMS: Final = 256
"""Most items of a list, or keys of a map, that `ITEMS` does not name."""

ITEMS: Final[Mapping[str, int]] = {"aliases": 32, "candidates": 32, "headers": 32, "labels": 64, "scorers": 16}
"""Most items, by the name of the field."""

MAX_KEY: Final = 128
"""Most characters of the key of a map. The least is 1."""

MAX_LABEL_KEY: Final = 64
"""Most characters of the key of a label."""

MAX_LABEL_VALUE: Final = 512
"""Most characters of the value of a label."""

MAX_SIZE: Final = 2_000_000
"""Most bytes of a resource."""

_SECONDS: Final = {
    "google.protobuf.Timestamp": range(-62_135_596_800, 253_402_300_800),  # years 1 to 9999
    "google.protobuf.Duration": range(-315_576_000_000, 315_576_000_001),  # 10,000 years either way
}
_NANOS: Final = range(-999_999_999, 1_000_000_000)


def check_limits(message: Message, path: str) -> None:
    """Refuses the first field that is beyond a limit; `INVALID_FIELD`. `path` is where paths begin, such as `route`."""
    if message.ByteSize() > MAX_SIZE:
        raise invalid_field(path, f"has {message.ByteSize()} bytes; use at most {MAX_SIZE}.")
    for found in walk(message, path):
        if is_map(found.field):
            _check_count(found)
            _check_map(found)
        elif found.field.is_repeated:
            _check_count(found)
            for position, item in enumerate(found.value):
                _check_value(f"{found.path}[{position}]", found.field, item)
        else:
            _check_value(found.path, found.field, found.value)


def _check_count(found: Found) -> None:
    most = ITEMS.get(found.field.name, MAX_ITEMS)
    items: Sized = found.value
    if len(items) > most:
        raise invalid_field(found.path, f"has {len(items)} items; use at most {most}.")


def _check_map(found: Found) -> None:
    is_labels = found.field.name == "labels"
    entries: Mapping[str, Any] = found.value
    for key, value in entries.items():
        if not key:
            raise invalid_field(found.path, "has an empty key; name every entry.")
        _check_text(found.path, key, MAX_LABEL_KEY if is_labels else MAX_KEY)
        if isinstance(value, str):
            _check_text(f"{found.path}.{key}", value, MAX_LABEL_VALUE if is_labels else MAX_TEXT)
        elif isinstance(value, float):
            _check_number(f"{found.path}.{key}", value)


def _check_value(path: str, field: FieldDescriptor, value: Any) -> None:  # noqa: ANN401 - of whatever type the field has
    if isinstance(value, str):
        _check_text(path, value, TEXTS.get(field.name, MAX_TEXT))
    elif isinstance(value, float):
        _check_number(path, value)
    elif field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            raise invalid_field(path, f"{value} is not a value of {field.enum_type.name}; use one of its names.")
    elif field.message_type is not None and field.message_type.full_name in _SECONDS:
        seconds = _SECONDS[field.message_type.full_name]
        if value.seconds not in seconds or value.nanos not in _NANOS or _is_torn(field, value):
            raise invalid_field(path, f"is not a {field.message_type.name}; its seconds or nanos are out of range.")


def _is_torn(field: FieldDescriptor, value: Any) -> bool:  # noqa: ANN401 - a Timestamp or a Duration
    """Whether seconds and nanos contradict each other."""
    if field.message_type is not None and field.message_type.name == "Timestamp":
        return bool(value.nanos < 0)
    return bool(value.seconds * value.nanos < 0)


def _check_text(path: str, value: str, most: int) -> None:
    if "\0" in value:
        raise invalid_field(path, "has a NUL character; leave it out.")
    if len(value) > most:
        raise invalid_field(path, f"has {len(value)} characters; use at most {most}.")


def _check_number(path: str, value: float) -> None:
    if not math.isfinite(value):
        raise invalid_field(path, f"{value} is not a number to compute with; use a finite one.")
