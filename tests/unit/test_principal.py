"""Which models a caller may use: patterns in which only `*` is special."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.principal import Principal
from tests.support.calls import principal

_TEXTS = st.text(st.sampled_from("ab*?[]!-/"), max_size=8)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("models/fake/echo", "models/fake/echo", True),
        ("models/fake/echo", "models/fake/echo2", False),
        ("models/fake/echo", "models/FAKE/echo", False),
        ("models/fake/*", "models/fake/", True),
        ("models/fake/*", "models/fake/a/b", True),
        ("*/echo", "models/fake/echo", True),
        ("models/*o*a", "models/foo/bar/a", True),
        ("models/a?c", "models/abc", False),
        ("models/a?c", "models/a?c", True),
        ("models/[a]", "models/a", False),
        ("models/[a]", "models/[a]", True),
        ("models/[!a]", "models/b", False),
        ("", "models/a", False),
    ],
)
def test_only_the_star_is_special(pattern: str, name: str, matches: bool) -> None:
    assert principal([pattern]).may_use(name) is matches


def test_every_list_must_let_the_name_pass() -> None:
    both = principal(["models/a", "models/b"], ["models/b", "models/c"])
    assert [name for name in "abc" if both.may_use(f"models/{name}")] == ["b"]


def test_an_empty_list_lets_everything_pass() -> None:
    assert principal().may_use("models/a")
    assert principal([], []).may_use("models/a")


def test_a_scope_is_held_or_not() -> None:
    caller = principal(scopes=["chat"])
    assert caller.may("chat")
    assert not caller.may("admin:read")
    assert not caller.may("")


def _expanded(pattern: str, filling: str) -> str:
    return pattern.replace("*", filling)


@given(_TEXTS, _TEXTS, st.text(st.sampled_from("ab/?[]!-"), max_size=4))
def test_a_pattern_within_a_pattern_allows_no_more(parent: str, child: str, filling: str) -> None:
    """What lets a key hand out a pattern when its own pattern matches it as a text."""
    if principal([parent]).may_use(child):
        assert principal([parent]).may_use(_expanded(child, filling))


@given(_TEXTS, st.text(max_size=4))
def test_a_pattern_matches_its_expansions(pattern: str, filling: str) -> None:
    assert principal([pattern]).may_use(_expanded(pattern, filling))


def test_a_hostile_pattern_costs_no_time() -> None:
    caller = principal(["*a" * 64 + "b"])
    began = time.perf_counter()
    assert not caller.may_use("a" * 256)
    assert time.perf_counter() - began < 0.1


def test_a_principal_does_not_change() -> None:
    caller = Principal(tenant="tenants/a", api_key="", scopes=frozenset())
    with pytest.raises(AttributeError):
        caller.tenant = "tenants/b"  # pyright: ignore[reportAttributeAccessIssue]
