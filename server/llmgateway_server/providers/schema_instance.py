"""Finds a small instance of a JSON Schema, the same one every time. The fake provider answers with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

Schema = Mapping[str, Any]
"""A JSON Schema. Any: it may hold any JSON."""

_MAX_DEPTH = 32
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 100_000
_FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORD = "text"


def instance_of(schema: object) -> object:
    """A small JSON value that the schema allows.

    Knows what providers' structured output knows: types, `properties`, `required`, `items`, `enum`, `const`, bounds,
    `format`, local `$ref`, `anyOf`, `oneOf` and `allOf`. `pattern` and `not` are beyond it. What is malformed in a
    schema is passed over.
    """
    return _Finder(schema).find(schema, _MAX_DEPTH)


class _Finder:
    """Looks for an instance, within bounds: a short schema may ask for an endless one."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._values = 0
        self._padding = _MAX_CHARACTERS

    def find(self, value: object, depth: int) -> object:
        self._values += 1
        if not isinstance(value, dict) or depth == 0 or self._values > _MAX_VALUES:
            # `true` allows anything, and endless recursion has to end somewhere.
            return None
        schema = self._resolved(cast("Schema", value))
        if "const" in schema:
            return schema["const"]
        for name in ("enum", "examples"):
            if values := _list(schema, name):
                return values[0]
        if "default" in schema:
            return schema["default"]
        for name in ("anyOf", "oneOf"):
            if choices := _list(schema, name):
                return self.find({**_without(schema, name), **self._resolved(_object(choices[0]))}, depth - 1)
        return self._of_type(_type_of(schema), schema, depth)

    def _of_type(self, kind: str, schema: Schema, depth: int) -> object:
        if kind == "object":
            properties = _object(schema.get("properties"))
            names = [name for name in _list(schema, "required") if isinstance(name, str)]
            return {name: self.find(properties.get(name, {}), depth - 1) for name in names}
        if kind == "array":
            leading = [self.find(item, depth - 1) for item in _list(schema, "prefixItems")]
            missing = min(int(_count(schema, "minItems", 0)), _MAX_VALUES - self._values) - len(leading)
            return leading + [self.find(schema.get("items", {}), depth - 1) for _ in range(missing)]
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return False if kind == "boolean" else None

    def _string(self, schema: Schema) -> str:
        text = _FORMATS.get(str(schema.get("format")), _WORD)
        text = text.ljust(min(int(_count(schema, "minLength", 0)), self._padding), "x")
        text = text[: int(_count(schema, "maxLength", len(text)))]
        self._padding = max(self._padding - len(text), 0)
        return text

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its `$ref` followed and its `allOf` merged in."""
        seen: set[str] = set()
        while isinstance(reference := schema.get("$ref"), str) and reference not in seen:
            seen.add(reference)
            schema = {**self._target(reference), **_without(schema, "$ref")}
        merged = _without(schema, "allOf")
        for part in _list(schema, "allOf"):
            more = _without(_object(part), "allOf")
            properties = {**_object(merged.get("properties")), **_object(more.get("properties"))}
            required = [*_list(merged, "required"), *_list(more, "required")]
            merged = {**merged, **more, "properties": properties, "required": required}
        return merged

    def _target(self, reference: str) -> Schema:
        value = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            value = _object(value).get(name)
        return _object(value)


def _type_of(schema: Schema) -> str:
    kinds = _list(schema, "type")
    kind = next((name for name in kinds if name != "null"), "null") if kinds else schema.get("type")
    if isinstance(kind, str):
        return kind
    return "array" if "items" in schema or "prefixItems" in schema else "object"


def _number(schema: Schema, *, whole: bool) -> float:
    step = _count(schema, "multipleOf", 0) or 1
    lowest = _bound(schema, "minimum", "exclusiveMinimum")
    highest = _bound(schema, "maximum", "exclusiveMaximum")
    value: float = 0
    if lowest is not None and lowest >= 0:
        value = -(-lowest // step) * step
        if value == schema.get("exclusiveMinimum"):
            value += step
    elif highest is not None and highest <= 0:
        value = highest // step * step
        if value == schema.get("exclusiveMaximum"):
            value -= step
    return int(value) if whole else value


def _bound(schema: Schema, *names: str) -> float | None:
    return next((value for name in names if isinstance(value := schema.get(name), (int, float))), None)


def _count(schema: Schema, name: str, default: float) -> float:
    value = schema.get(name)
    return value if isinstance(value, (int, float)) and value >= 0 else default


def _object(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, dict) else {}


def _list(schema: Schema, name: str) -> list[object]:
    value = schema.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


def _without(schema: Schema, name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}
