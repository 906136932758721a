"""What the descriptors say of fields: who sets them, which must be set, which never change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from google.api import field_behavior_pb2
from google.api.field_behavior_pb2 import FieldBehavior
from google.protobuf.descriptor import FieldDescriptor

from llmgateway_server.errors import invalid_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

_NUMBERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_DOUBLE,
        FieldDescriptor.CPPTYPE_FLOAT,
        FieldDescriptor.CPPTYPE_BOOL,
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """A field that is set, somewhere in a message."""

    path: str
    """Such as `route.targets[0].weight`."""
    plain: str
    """The path without the first name and without positions: `targets.weight`."""
    field: FieldDescriptor
    value: Any  # of whatever type the field has


def walk(message: Message, path: str, plain: str = "") -> Iterator[Found]:
    """Every field that is set in a message and in the messages inside it, outermost first."""
    for field, value in message.ListFields():
        here = f"{path}.{field.name}"
        bare = f"{plain}.{field.name}" if plain else field.name
        yield Found(here, bare, field, value)
        for item, place in _messages(field, value, here):
            yield from walk(item, place, bare)


def clear_outputs(message: Message) -> None:
    """Clears what only the gateway sets, and the name, which the request says elsewhere."""
    for field, value in message.ListFields():
        if is_output(field):
            message.ClearField(field.name)
        else:
            for item, _ in _messages(field, value, ""):
                clear_outputs(item)


def require(message: Message, path: str) -> None:
    """Refuses a message that lacks a required field; `INVALID_FIELD`.

    A number or truth value that does not track its presence is never missing: zero is a value.
    """
    for field in fields_of(message):
        if FieldBehavior.REQUIRED in behavior_of(field) and not _is_set(message, field):
            raise invalid_field(f"{path}.{field.name}", "is required.")
    for field, value in message.ListFields():
        for item, place in _messages(field, value, f"{path}.{field.name}"):
            require(item, place)


def freeze(previous: Message, changed: Message, path: str) -> None:
    """Refuses a change of a field that never changes; `INVALID_FIELD`."""
    for field in fields_of(previous):
        if FieldBehavior.IMMUTABLE in behavior_of(field) and differs(previous, changed, field):
            raise invalid_field(
                f"{path}.{field.name}", "cannot be changed; leave it as it is, or create another resource."
            )


def is_output(field: FieldDescriptor) -> bool:
    """Whether only the gateway sets a field."""
    return not behavior_of(field).isdisjoint({FieldBehavior.OUTPUT_ONLY, FieldBehavior.IDENTIFIER})


@cache
def behavior_of(field: FieldDescriptor) -> frozenset[int]:
    """The behaviors that the proto gives a field."""
    extension: Any = field_behavior_pb2.field_behavior  # the stubs leave extensions untyped
    return frozenset(field.GetOptions().Extensions[extension])


def changed_paths(previous: Message, changed: Message, prefix: str = "") -> list[str]:
    """The fields in which two messages of one type differ, into messages but not into lists and maps."""
    paths: list[str] = []
    for field in fields_of(previous):
        if not differs(previous, changed, field):
            continue
        path = f"{prefix}{field.name}"
        if is_single_message(field) and previous.HasField(field.name) and changed.HasField(field.name):
            paths += changed_paths(getattr(previous, field.name), getattr(changed, field.name), f"{path}.")
        else:
            paths.append(path)
    return paths


def differs(left: Message, right: Message, field: FieldDescriptor) -> bool:
    """Whether two messages of one type differ in a field, unset and zero included."""
    if field.has_presence and left.HasField(field.name) != right.HasField(field.name):
        return True
    return bool(getattr(left, field.name) != getattr(right, field.name))


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def fields_of(message: Message) -> list[FieldDescriptor]:
    """The fields of a message's type, set or not."""
    return list(cast("Descriptor", message.DESCRIPTOR).fields)  # its stub adds a twin from the C library


def is_single_message(field: FieldDescriptor) -> bool:
    """Whether a field holds one message."""
    return field.message_type is not None and not field.is_repeated


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    if not field.is_repeated and field.cpp_type in _NUMBERS:
        return True
    return bool(getattr(message, field.name))


def _messages(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[Message, str]]:  # noqa: ANN401 - as in Found
    """The messages that the value of a field holds, with their paths."""
    if field.message_type is None:
        return
    if is_map(field):
        if field.message_type.fields_by_name["value"].message_type is not None:
            for key in value:
                yield value[key], f"{path}.{key}"
    elif field.is_repeated:
        for position, item in enumerate(value):
            yield item, f"{path}[{position}]"
    else:
        yield value, path
