"""Update masks, by the rules of AIP-134 (https://google.aip.dev/134)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import Message

from llmgateway_server.admin.behavior import fields_of, is_map, is_output, is_single_message
from llmgateway_server.errors import invalid_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import FieldDescriptor

R = TypeVar("R", bound=Message)

MAX_PATHS: Final = 100
"""Most paths of a mask."""

_FIELD: Final = "update_mask"


def merge(current: R, wanted: Message, paths: Sequence[str]) -> R:
    """The current message with the fields that the mask names taken from the wanted one; neither is changed.

    Without paths these are the fields that the wanted message sets, lists and maps whole; with the one path `*` they
    are all. A path leads into messages and to one key of a map: `price.input`, `labels.team`. What only the gateway
    sets is passed over. Any other path is `INVALID_FIELD` for `update_mask`.
    """
    if len(paths) > MAX_PATHS:
        raise invalid_field(_FIELD, f"has {len(paths)} paths; use at most {MAX_PATHS}.")
    merged = type(current)()
    merged.CopyFrom(current)
    if not paths:
        _merge_populated(merged, wanted)
    elif list(paths) == ["*"]:
        for field in fields_of(merged):
            if not is_output(field):
                _take(merged, wanted, field)
    else:
        for path in paths:
            _merge_path(merged, wanted, path.split("."), path)
    return merged


def _merge_populated(merged: Message, wanted: Message) -> None:
    for field, value in wanted.ListFields():
        if is_output(field):
            continue
        if is_single_message(field) and not _is_atom(field):
            _merge_populated(_inside(merged, field), value)
        else:
            _take(merged, wanted, field)


def _merge_path(merged: Message, wanted: Message, names: Sequence[str], path: str) -> None:
    field = next((field for field in fields_of(merged) if field.name == names[0]), None)
    if field is None:
        hint = "use '*' alone" if "*" in names else "use the resource's own fields, such as 'display_name'"
        raise invalid_field(_FIELD, f"{path!r} is not a field; {hint}.")
    if is_output(field):
        return
    rest = names[1:]
    if not rest:
        _take(merged, wanted, field)
    elif is_map(field):
        _take_key(getattr(merged, field.name), getattr(wanted, field.name), ".".join(rest))
    elif is_single_message(field) and not _is_atom(field):
        if merged.HasField(field.name) or wanted.HasField(field.name):
            _merge_path(_inside(merged, field), getattr(wanted, field.name), rest, path)
        else:
            _merge_path(type(getattr(merged, field.name))(), getattr(wanted, field.name), rest, path)
    else:
        raise invalid_field(_FIELD, f"{path!r} leads into {field.name!r}, which is replaced as a whole.")


def _is_atom(field: FieldDescriptor) -> bool:
    """Whether a message is one value, such as a time: its parts are never merged."""
    return field.message_type is not None and field.message_type.file.package == "google.protobuf"


def _inside(message: Message, field: FieldDescriptor) -> Message:
    """The message in a field, set from now on."""
    inner: Message = getattr(message, field.name)
    inner.SetInParent()
    return inner


def _take(merged: Message, wanted: Message, field: FieldDescriptor) -> None:
    """Makes a field what it is in the wanted message, unset included."""
    merged.ClearField(field.name)
    value = getattr(wanted, field.name)
    if is_map(field) or field.is_repeated:
        getattr(merged, field.name).MergeFrom(value)
    elif field.has_presence and not wanted.HasField(field.name):
        return
    elif field.message_type is not None:
        _inside(merged, field).CopyFrom(value)
    else:
        setattr(merged, field.name, value)


def _take_key(merged: Any, wanted: Any, key: str) -> None:  # noqa: ANN401 - the stubs give maps no common type
    if key in wanted:
        merged[key] = wanted[key]
    elif key in merged:
        del merged[key]
