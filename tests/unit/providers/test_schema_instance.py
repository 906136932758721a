"""Small instances of schemas, which are instances indeed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.providers.schema_instance import instance_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keywords = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "prefixItems",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "format",
        "default",
        "examples",
    ]
)


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "minimum": 4, "multipleOf": 3}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMaximum": -3}, -4),
        ({"type": "number", "minimum": 0.5, "multipleOf": 0.5}, 0.5),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, "text"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "minItems": 2, "items": {"type": "null"}},
            ["text", None],
        ),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 5}, 5),
        ({"default": [1]}, [1]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
        ({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]}, {"b": "text"}),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": {}}),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"type": "boolean"}}}, False),
        ({"$ref": "#/nowhere"}, {}),
        ({"$ref": "#"}, {}),
        (True, None),
        ({}, {}),
    ],
    ids=str,
)
def test_instance(schema: object, instance: object) -> None:
    assert instance_of(schema) == instance


def test_schema_that_refers_to_itself_has_an_end() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    assert "next" in str(instance_of(schema))


def test_schema_that_grows_without_bound_is_bounded() -> None:
    both = {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]}
    array = {"type": "array", "minItems": 10**9, "items": {"type": "string", "minLength": 10**9, "$ref": "#"}}

    assert len(str(instance_of(both))) < 10**6
    assert len(str(instance_of(array))) < 10**6


@given(st.dictionaries(keywords, json_values, max_size=6))
def test_nonsense_is_passed_over(schema: dict[str, object]) -> None:
    instance_of(schema)
