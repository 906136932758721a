"""Finds a small instance of a JSON Schema, the same one every time. The fake provider answers with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

Schema = Mapping[str, Any]
"""A JSON Schema. Any: it may hold any JSON."""

_MAX_DEPTH = 32
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 10_000
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


def instance_of(schema: Schema) -> object:
    """A small JSON value that the schema allows.

    Knows what providers' structured output knows: types, `properties`, `required`, `items`, `enum`, `const`, bounds,
    `format`, local `$ref`, `anyOf`, `oneOf` and `allOf`. `pattern` and `not` are beyond it.
    """
    return _Finder(schema).find(schema, _MAX_DEPTH)


class _Finder:
    """Looks for an instance, within bounds: a short schema may ask for an endless one."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._values = 0

    def find(self, schema: object, depth: int) -> object:
        self._values += 1
        if not isinstance(schema, Mapping) or depth == 0 or self._values > _MAX_VALUES:
            # `true` allows anything, and endless recursion has to end somewhere.
            return None
        schema = self._resolved(cast("Schema", schema))
        if "const" in schema:
            return schema["const"]
        for name in ("enum", "examples"):
            if values := schema.get(name):
                return values[0]
        if "default" in schema:
            return schema["default"]
        for name in ("anyOf", "oneOf"):
            if choices := schema.get(name):
                return self.find({**_without(schema, name), **self._resolved(choices[0])}, depth - 1)
        return self._of_type(_type_of(schema), schema, depth)

    def _of_type(self, kind: str, schema: Schema, depth: int) -> object:
        if kind == "object":
            properties: Schema = schema.get("properties", {})
            return {name: self.find(properties.get(name, {}), depth - 1) for name in schema.get("required", ())}
        if kind == "array":
            leading = [self.find(item, depth - 1) for item in schema.get("prefixItems", ())]
            missing = min(int(schema.get("minItems", 0)), _MAX_VALUES - self._values) - len(leading)
            return leading + [self.find(schema.get("items", {}), depth - 1) for _ in range(missing)]
        if kind == "string":
            return _string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return False if kind == "boolean" else None

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its `$ref` followed and its `allOf` merged in."""
        seen: set[str] = set()
        while (reference := schema.get("$ref")) and reference not in seen:
            seen.add(reference)
            schema = {**self._target(reference), **_without(schema, "$ref")}
        if parts := schema.get("allOf"):
            merged: dict[str, Any] = _without(schema, "allOf")
            for part in map(self._resolved, parts):
                properties = {**merged.get("properties", {}), **part.get("properties", {})}
                required = [*merged.get("required", ()), *part.get("required", ())]
                merged = {**merged, **part, "properties": properties, "required": required}
            return merged
        return schema

    def _target(self, reference: str) -> Schema:
        value: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            value = _object(value).get(name)
        return _object(value)


def _object(value: object) -> Schema:
    return cast("Schema", value) if isinstance(value, dict) else {}


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = cast("list[str]", kind)
        kind = next((name for name in kinds if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "object"


def _string(schema: Schema) -> str:
    text = _FORMATS.get(schema.get("format", ""), _WORD)
    text = text.ljust(min(int(schema.get("minLength", 0)), _MAX_CHARACTERS), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _number(schema: Schema, *, whole: bool) -> float:
    step = schema.get("multipleOf", 1)
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    highest = schema.get("maximum", schema.get("exclusiveMaximum"))
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


def _without(schema: Schema, name: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != name}
