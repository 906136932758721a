"""Any message of a type, drawn from its descriptor."""

from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

M = TypeVar("M", bound=Message)

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
_TEXTS = st.sampled_from(
    ["", "a", "c1", "models/a", "{}", '{"type": "object"}', "[", "\x00", "https://a.example", "模"]
)


def any_message(kind: type[M], *, depth: int = 5) -> st.SearchStrategy[M]:
    """Messages of a type with any of its fields set, values of enums beyond their names among them."""
    return _messages(kind.DESCRIPTOR, depth)  # pyright: ignore[reportArgumentType] - its stub adds a twin


@st.composite
def _messages(draw: st.DrawFn, descriptor: Descriptor, depth: int) -> Any:
    message = GetMessageClass(descriptor)()
    fields = [field for field in descriptor.fields if depth or field.message_type is None]
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique=True)) if fields else []:
        _set(draw, message, field, depth)
    return message


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        value = inner.fields_by_name["value"]
        target = getattr(message, field.name)
        for key in draw(st.lists(_TEXTS, max_size=2)):
            if value.message_type is None:
                target[key] = draw(_scalars(value))
    elif field.is_repeated:
        values = _messages(inner, depth - 1) if inner is not None else _scalars(field)
        getattr(message, field.name).extend(draw(st.lists(values, max_size=3)))
    elif inner is not None:
        getattr(message, field.name).CopyFrom(draw(_messages(inner, depth - 1)))
    else:
        setattr(message, field.name, draw(_scalars(field)))


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if field.enum_type is not None:
        return st.sampled_from([*field.enum_type.values_by_number, -1, 99])
    if kind in _INTEGERS:
        return st.integers(0, 3) | _INTEGERS[kind]
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(width=32)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    return st.binary(max_size=4) if field.type == FieldDescriptor.TYPE_BYTES else _TEXTS
