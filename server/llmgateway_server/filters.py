"""Filters of lists: `field = "value"` conditions joined by `AND`, checked against a message type and matched in memory.

    filter     = condition { "AND" condition }
    condition  = path operator value
    path       = name { "." name }            a field, a field of a message in it, or a key of a map
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value      = "text" | 'text' | word       words are letters, digits and any of _ . * / + -

`<` and the like compare numbers, times (RFC 3339) and durations (`"1.5s"`). `:` asks whether a list holds the value,
whether a map has the key, whether a text contains the value, or, with `*`, whether a field is set. A list of messages
is searched with `:` too: `targets.deployment : "deployments/a"`. `!=` is true exactly when `=` is false, so it lets
through what lacks the field. The grammar is a subset of AIP-160 (https://google.aip.dev/160).
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from llmgateway_server.errors import GatewayError, invalid_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

MAX_LENGTH: Final = 2000
"""Most characters of a filter."""

MAX_CONDITIONS: Final = 16
"""Most conditions of a filter."""

MAX_DEPTH: Final = 8
"""Most names in a path."""

Value = str | int | float | bool
"""What a field is compared with. Times and durations are nanoseconds; enum values are numbers."""


class Operator(Enum):
    """How a field and a value are compared."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison, already checked against the message type it is for."""

    path: str
    """The field's path as it was written, such as `labels.team`."""
    operator: Operator
    value: Value | None
    """None stands for `*`: any value at all."""
    steps: tuple[FieldDescriptor | str, ...]
    """The way to the field: its descriptors, or a map's descriptor and then the key."""

    @property
    def exact(self) -> str | None:
        """The text that some value at the path must be, where the condition says just that. An index may serve it."""
        says_so = self.operator is (Operator.HAS if _in_list(self.steps) else Operator.EQUAL)
        return self.value if says_so and isinstance(self.value, str) else None

    def matches(self, message: Message) -> bool:
        """Whether the condition holds for a message."""
        if self.operator is Operator.UNEQUAL:
            return not any(found == self.value for found in _values(message, self.steps))
        return any(self._holds(found) for found in _values(message, self.steps))

    def _holds(self, found: Any) -> bool:  # noqa: ANN401 - a field's value, of whatever type it has
        if self.operator is not Operator.HAS:
            return _COMPARISONS[self.operator](found, self.value)
        if self.value is None:
            return True
        if isinstance(found, str) and not _in_list(self.steps):
            return str(self.value) in found
        return bool(found == self.value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold. Without any, everything passes."""

    text: str = ""
    """What was asked for, to the letter. Page tokens are bound to it."""
    conditions: tuple[Condition, ...] = ()

    def matches(self, message: Message) -> bool:
        """Whether a message passes."""
        return all(condition.matches(message) for condition in self.conditions)


EVERYTHING: Final = Filter()
"""The filter that lets everything through."""


def parse_filter(text: str, kind: type[Message], *, hidden: frozenset[str] = frozenset()) -> Filter:
    """Reads a filter for messages of a kind; `INVALID_FIELD` for `filter` when it cannot be read.

    Fields named in `hidden` are treated as if there were none.
    """
    if len(text) > MAX_LENGTH:
        raise invalid_field("filter", f"has {len(text)} characters; use at most {MAX_LENGTH}.")
    if not text.strip():
        return EVERYTHING
    conditions = tuple(_condition(path, sign, value, kind, hidden) for path, sign, value in _split(_tokens(text)))
    return Filter(text, conditions)


def where(kind: type[Message], path: str, value: str) -> Filter:
    """The filter for messages that hold a text in a field or a list: what `path = "value"` or `path : "value"` says."""
    steps = _steps(path, kind)
    sign = Operator.HAS if _in_list(steps) else Operator.EQUAL
    return Filter(f"{path} {sign.value} {value!r}", (Condition(path, sign, value, steps),))


def field_values(message: Message, path: str) -> Iterator[Any]:
    """The values at a path of a message, of which there are many when the path leads through lists."""
    return _values(message, _steps(path, type(message)))


_COMPARISONS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign><=|>=|!=|[=<>:])
      | (?P<word>[A-Za-z0-9_.*/+-]+)
    )""",
    re.VERBOSE | re.DOTALL,
)

_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_FLOATS: Final = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_TIMES: Final = frozenset({Timestamp.DESCRIPTOR.full_name, Duration.DESCRIPTOR.full_name})
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> Sequence[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise _malformed(text, position, "a field, an operator or a value is expected")
        kind = str(found.lastgroup)
        tokens.append(_Token(kind, found.group(kind)))
        position = found.end()
    return tokens


def _split(tokens: Sequence[_Token]) -> Iterable[tuple[str, Operator, _Token]]:
    """Groups tokens into conditions: path, operator, value, with `AND` between."""
    for count, start in enumerate(range(0, len(tokens), 4), start=1):
        match tokens[start : start + 4]:
            case [_Token("word", path), _Token("sign", sign), _Token("word" | "text") as value, *joint]:
                if joint and (joint[0].text != "AND" or start + 4 == len(tokens)):
                    raise invalid_field("filter", f"at {joint[0].text!r}: join conditions by 'AND'.")
            case group:
                raise invalid_field("filter", f"at {group[0].text!r}: write conditions as 'field = \"value\"'.")
        if count > MAX_CONDITIONS:
            raise invalid_field("filter", f"has more than {MAX_CONDITIONS} conditions; use fewer.")
        yield path, Operator(sign), value


def _condition(path: str, sign: Operator, token: _Token, kind: type[Message], hidden: frozenset[str]) -> Condition:
    steps = _steps(path, kind, hidden)
    last = steps[-1]
    if sign is Operator.HAS and token.kind == "word" and token.text == "*":
        return Condition(path, sign, None, steps)
    if isinstance(last, FieldDescriptor) and _is_map(last):
        if sign is not Operator.HAS:
            raise invalid_field("filter", f"{path!r} is a map; ask for '{path}.key = \"value\"' or '{path} : key'.")
        return Condition(f"{path}.{_text(token)}", sign, None, (*steps, _text(token)))
    if sign is not Operator.HAS and _in_list(steps):
        raise invalid_field("filter", f"{path!r} is a list; ask whether it holds a value with ':'.")
    value = _text(token) if isinstance(last, str) else _operand(path, last, token)
    if sign not in {Operator.EQUAL, Operator.UNEQUAL, Operator.HAS} and not _is_ordered(last):
        raise invalid_field("filter", f"{path!r} has no order; compare it with '=', '!=' or ':'.")
    return Condition(path, sign, value, steps)


def _steps(path: str, kind: type[Message], hidden: frozenset[str] = frozenset()) -> tuple[FieldDescriptor | str, ...]:
    """Follows a path through a message type."""
    names = path.split(".")
    if len(names) > MAX_DEPTH:
        raise invalid_field("filter", f"{path!r} is too deep; use at most {MAX_DEPTH} names.")
    steps: list[FieldDescriptor] = []
    current = cast("Descriptor | None", kind.DESCRIPTOR)  # its stub adds a twin from the C library
    for index, name in enumerate(names, start=1):
        found = current.fields_by_name.get(name) if current else None
        if found is None or name in hidden:
            raise invalid_field("filter", f"{path!r} is not a field; use the fields of the resource.")
        steps.append(found)
        current = found.message_type
        if current and _is_map(found):
            return _into_map(path, steps, ".".join(names[index:]))  # keys may have dots
    if steps[-1].type == FieldDescriptor.TYPE_BYTES:
        raise invalid_field("filter", f"{path!r} holds bytes; filter by another field.")
    return tuple(steps)


def _into_map(path: str, steps: Sequence[FieldDescriptor], key: str) -> tuple[FieldDescriptor | str, ...]:
    entry = steps[-1].message_type
    if entry is None or entry.fields_by_name["value"].type != FieldDescriptor.TYPE_STRING:
        raise invalid_field("filter", f"{path!r} is a map of other things than texts; filter by another field.")
    return (*steps, key) if key else tuple(steps)


def _operand(path: str, target: FieldDescriptor, token: _Token) -> Value:
    """Reads a value as the type that the field has."""
    text = _text(token)
    kind = target.cpp_type
    try:
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return text
        if kind in _INTEGERS:
            return int(text)
        if kind in _FLOATS:
            return float(text)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return {"true": True, "false": False}[text]
        if target.enum_type is not None:
            return int(target.enum_type.values_by_name[text].number)
        return _moment(target, text)
    except (KeyError, ValueError) as error:
        raise invalid_field("filter", f"{text!r} is not a value of {path!r}.") from error


def _moment(target: FieldDescriptor, text: str) -> int:
    """Nanoseconds of a time or a duration. `ValueError` for other messages, which have no value of their own."""
    kinds: Mapping[str, type[Timestamp | Duration]] = {"Timestamp": Timestamp, "Duration": Duration}
    if not _is_time(target) or target.message_type is None:
        raise ValueError(text)
    moment = kinds[target.message_type.name]()
    moment.FromJsonString(text)
    return moment.ToNanoseconds()


def _text(token: _Token) -> str:
    if token.kind == "word":
        return token.text
    return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)


def _values(message: Message, steps: Sequence[FieldDescriptor | str]) -> Iterator[Any]:
    """The values at the end of a path, all of them when it leads through lists, none where a message is unset."""
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):  # pragma: no cover - a key is consumed together with its map
        raise TypeError(step)
    value = getattr(message, step.name)
    if _is_map(step):
        if not rest:
            yield from value
        elif rest[0] in value:
            yield value[rest[0]]
    elif step.is_repeated:
        for item in value:
            yield from _values(item, rest) if rest else (_plain(step, item),)
    elif step.has_presence and not message.HasField(step.name):
        return
    elif rest:
        yield from _values(value, rest)
    else:
        yield _plain(step, value)


def _plain(step: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - a field's value, of whatever type it has
    return value.seconds * _NANOS + value.nanos if _is_time(step) else value


def _is_map(step: FieldDescriptor) -> bool:
    return step.message_type is not None and step.message_type.GetOptions().map_entry


def _is_time(step: FieldDescriptor) -> bool:
    return step.message_type is not None and step.message_type.full_name in _TIMES


def _in_list(steps: Sequence[FieldDescriptor | str]) -> bool:
    return any(isinstance(step, FieldDescriptor) and step.is_repeated and not _is_map(step) for step in steps)


def _is_ordered(step: FieldDescriptor | str) -> bool:
    if isinstance(step, str):
        return False
    return _is_time(step) or step.cpp_type in _INTEGERS or step.cpp_type in _FLOATS


def _malformed(text: str, position: int, expected: str) -> GatewayError:
    return invalid_field("filter", f"at {text[position : position + 20]!r}: {expected}.")
