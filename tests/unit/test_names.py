"""Resource names."""

import pytest

from llmgateway_server import names
from llmgateway_server.errors import InvalidArgument

SIMPLE = ["a", "0", "acme", "a-b", "-a", "a-", "--", "0-9", "x" * 63]
NOT_SIMPLE = ["", "-", "A", "a_b", "a.b", "a b", "a/b", "é", "a\n", "a\0", "x" * 64, "%2f", ".."]
MODEL = [*SIMPLE, "A", "fake/echo", "meta-llama/Llama-3.1-8B:free", "a.b", "a/b/c", "a:b", "x" * 200, "."]
NOT_MODEL = ["", "-", "/a", "a/", "a//b", "..", "a/../b", "a..b", "a b", "é", "a\n", "x" * 201, "a\\b", "a?b", "a%b"]


@pytest.mark.parametrize("kind", [kind for kind in names.PATTERNS if kind != "Model"])
@pytest.mark.parametrize("value", SIMPLE)
def test_a_name_is_made_and_taken_apart(kind: str, value: str) -> None:
    ids = [value] * len(names.PATTERNS[kind].collections)
    name = names.format_name(kind, *ids)
    assert names.parse_name(kind, name) == tuple(ids)
    assert names.match_name(name) is names.PATTERNS[kind]
    assert names.id_of(name) == value
    assert names.parent_of(name) == "/".join(name.split("/")[:-2])
    assert names.child_name(kind, names.parent_of(name), value) == name
    names.check_id(kind, value, field="id")
    names.check_parent(kind, names.parent_of(name))


@pytest.mark.parametrize("kind", ["Provider", "ApiKey"])
@pytest.mark.parametrize("value", NOT_SIMPLE)
def test_an_id_has_letters_digits_and_hyphens(kind: str, value: str) -> None:
    name = f"providers/{value}" if kind == "Provider" else f"tenants/a/apiKeys/{value}"
    assert not names.is_name(kind, name)
    with pytest.raises(InvalidArgument) as caught:
        names.check_id(kind, value, field="some_id")
    assert caught.value.field == "some_id"
    with pytest.raises(InvalidArgument) as caught:
        names.parse_name(kind, name, field="x.name")
    assert caught.value.field == "x.name"


@pytest.mark.parametrize("value", MODEL)
def test_a_model_has_an_id_with_slashes(value: str) -> None:
    name = names.format_name("Model", value)
    assert names.parse_name("Model", name) == (value,)
    assert names.match_name(name) is names.PATTERNS["Model"]
    assert names.id_of(name) == value
    assert names.parent_of(name) == ""
    assert names.tenant_of(name) == ""


@pytest.mark.parametrize("value", NOT_MODEL)
def test_a_model_has_no_id_that_climbs_or_breaks_a_path(value: str) -> None:
    assert not names.is_name("Model", f"models/{value}")
    assert names.match_name(f"models/{value}") is None
    with pytest.raises(InvalidArgument):
        names.check_id("Model", value, field="model_id")


@pytest.mark.parametrize(
    "name", ["", "/", "a", "tenants", "tenants/", "nothings/a", "tenants/a/models/b", "tenants/a/b"]
)
def test_what_follows_no_pattern_matches_none(name: str) -> None:
    assert names.match_name(name) is None


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"use 'providers/\{provider\}'"):
        names.parse_name("Provider", "models/a")
    with pytest.raises(InvalidArgument, match="is required"):
        names.parse_name("Provider", "")


def test_messages_are_short_and_escaped() -> None:
    with pytest.raises(InvalidArgument) as caught:
        names.parse_name("Provider", "providers/\n" + "x" * 100_000)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


def test_ids_that_make_no_name_are_a_bug() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        names.format_name("Provider", "A")
    with pytest.raises(ValueError, match="shorter"):
        names.format_name("ApiKey", "a")


@pytest.mark.parametrize(
    ("kind", "parent", "wildcard", "fits"),
    [
        ("Provider", "", False, True),
        ("Provider", "tenants/a", False, False),
        ("ApiKey", "tenants/a", False, True),
        ("ApiKey", "tenants/-", False, False),
        ("ApiKey", "tenants/-", True, True),
        ("ApiKey", "", True, False),
        ("ApiKey", "tenants", True, False),
        ("ApiKey", "tenants/A", True, False),
        ("ApiKey", "providers/a", True, False),
        ("ApiKey", "tenants/a/apiKeys/b", True, False),
        ("EvaluationRun", "tenants/a/evaluations/b", False, True),
        ("EvaluationRun", "tenants/-/evaluations/b", True, True),
    ],
)
def test_a_parent_fits_its_kind(kind: str, parent: str, wildcard: bool, fits: bool) -> None:
    if fits:
        names.check_parent(kind, parent, wildcard=wildcard)
    else:
        with pytest.raises(InvalidArgument) as caught:
            names.check_parent(kind, parent, wildcard=wildcard)
        assert caught.value.field == "parent"


@pytest.mark.parametrize(
    ("name", "tenant"),
    [
        ("tenants/a", "tenants/a"),
        ("tenants/a/apiKeys/b", "tenants/a"),
        ("tenants/a/evaluations/b/runs/c", "tenants/a"),
        ("tenants/-", "tenants/-"),
        ("models/tenants/a", ""),
        ("providers/a", ""),
        ("", ""),
    ],
)
def test_a_name_belongs_to_a_tenant(name: str, tenant: str) -> None:
    assert names.tenant_of(name) == tenant
