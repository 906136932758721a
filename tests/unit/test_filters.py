"""Filters of lists."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway.v1.model_service_pb2 import Model
from llmgateway.v1.routing_service_pb2 import Route
from llmgateway_server.errors import InvalidArgument
from llmgateway_server.filters import EVERYTHING, MAX_CONDITIONS, MAX_LENGTH, field_values, parse_filter, where

MODEL = Model(
    name="models/fake/echo",
    display_name='An "echo" AND more',
    labels={"team": "search", "cost.center": "42", "empty": ""},
    capabilities=["chat", "tools"],
    context_window=8192,
    status=Model.STATUS_ACTIVE,
)
MODEL.price.input = 0
MODEL.create_time.FromJsonString("2030-01-02T03:04:05.5Z")

ROUTE = Route(name="routes/a", continuation=True)
ROUTE.targets.add(deployment="deployments/a", weight=2)
ROUTE.targets.add(model="models/m")
ROUTE.timeouts.idle.FromJsonString("1.500s")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("  \n", True),
        ('name = "models/fake/echo"', True),
        ("name = 'models/fake/echo'", True),
        ("name = models/fake/echo", True),
        ("name != models/fake/echo", False),
        ("name : fake", True),
        ("name : other", False),
        (r'display_name = "An \"echo\" AND more"', True),
        ('labels.team = "search"', True),
        ('labels.team="search"', True),
        ("labels.team = sea", False),
        ("labels.team : sea", True),
        ("labels.team != search", False),
        ("labels.other != search", True),
        ('labels.other = ""', False),
        ('labels.empty = ""', True),
        ("labels.cost.center = 42", True),
        ("labels : team", True),
        ("labels : other", False),
        ("labels : *", True),
        ("labels.other : *", False),
        ("capabilities : tools", True),
        ("capabilities : tool", False),
        ("capabilities : *", True),
        ("aliases : *", False),
        ("context_window = 8192", True),
        ("context_window > 8191 AND context_window < 8193", True),
        ("context_window >= 8193", False),
        ("context_window <= 8192", True),
        ("context_window > -1", True),
        ("status = STATUS_ACTIVE", True),
        ("status != STATUS_RETIRED", True),
        ('create_time > "2030-01-02T03:04:05Z"', True),
        ('create_time >= "2030-01-02T03:04:05.5Z"', True),
        ('create_time = "2030-01-02T04:04:05.5+01:00"', True),
        ('create_time < "2030-01-02T03:04:05.500000001Z"', True),
        ("update_time : *", False),
        ('update_time < "2030-01-02T03:04:05Z"', False),
        ("price : *", True),
        ("price.input = 0", True),
        ("price.input : *", True),
        ("price.output : *", False),
        ("price.output < 5", False),
        ("price.output != 5", True),
        ('labels.team = "search" AND status = STATUS_ACTIVE AND name : "echo"', True),
        ('labels.team = "search" AND status = STATUS_RETIRED', False),
    ],
)
def test_a_filter_lets_through_what_it_says(text: str, passes: bool) -> None:
    assert parse_filter(text, Model).matches(MODEL) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("targets.deployment : deployments/a", True),
        ("targets.deployment : deployments", False),
        ("targets.model : models/m", True),
        ("targets.weight : 2", True),
        ("continuation = true", True),
        ("continuation = false", False),
        ("timeouts.idle = 1.5s", True),
        ('timeouts.idle > "1s"', True),
        ("timeouts.total > 0s", False),
        ("retry_policy : *", False),
    ],
)
def test_a_filter_reaches_into_messages(text: str, passes: bool) -> None:
    assert parse_filter(text, Route).matches(ROUTE) is passes


@pytest.mark.parametrize(
    "text",
    [
        "nothing = 1",
        "name",
        "name =",
        "= a",
        "name = a name = b",
        "name = a OR name = b",
        "name = a AND",
        "AND name = a",
        "NOT name = a",
        "(name = a)",
        "name = (a)",
        "name == a",
        'name = "a',
        "name = a;",
        "name < a",
        "labels = a",
        "labels.team < a",
        "capabilities = chat",
        "context_window = many",
        "context_window : many",
        "continuation = true",
        "status = ACTIVE",
        "status = 1",
        "status < STATUS_ACTIVE",
        'create_time > "yesterday"',
        "price = 1",
        "name.more = 1",
        "name. = 1",
        ".name = 1",
        "etag.a.b.c.d.e.f.g.h = 1",
        'name = "a" AND' * 3,
        "name = \x00",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, Model)
    assert caught.value.field == "filter"
    assert len(caught.value.message) < 300


def test_bytes_and_hidden_fields_are_no_fields() -> None:
    with pytest.raises(InvalidArgument):
        parse_filter("secret_hash : *", ApiKey)
    assert parse_filter("previous_prefix = lgw_", ApiKey).conditions
    with pytest.raises(InvalidArgument):
        parse_filter("previous_prefix = lgw_", ApiKey, hidden=frozenset({"previous_prefix"}))


def test_a_filter_has_bounds() -> None:
    most = " AND ".join(["name : a"] * MAX_CONDITIONS)
    assert len(parse_filter(most, Model).conditions) == MAX_CONDITIONS
    with pytest.raises(InvalidArgument, match="more than 16 conditions"):
        parse_filter(f"{most} AND name : a", Model)
    with pytest.raises(InvalidArgument, match="characters"):
        parse_filter("name = " + "a" * MAX_LENGTH, Model)


def test_a_filter_made_by_code_needs_no_quoting() -> None:
    assert where(Model, "display_name", 'An "echo" AND more').matches(MODEL)
    assert where(Model, "capabilities", "chat").matches(MODEL)
    assert not where(Model, "capabilities", "cha").matches(MODEL)
    assert list(field_values(ROUTE, "targets.deployment")) == ["deployments/a"]
    assert EVERYTHING.matches(MODEL)


def test_only_an_exact_condition_may_be_looked_up() -> None:
    exact = {
        text: parse_filter(text, Model).conditions[0].exact
        for text in ("owner = a", "owner : a", "owner != a", "aliases : a", "aliases : *", "context_window = 1")
    }
    assert exact == {
        "owner = a": "a",
        "owner : a": None,
        "owner != a": None,
        "aliases : a": "a",
        "aliases : *": None,
        "context_window = 1": None,
    }


@given(st.text(alphabet="abname.labels=!<>:\"'\\ ANDOR()*0123456789-+", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        parse_filter(text, Model).matches(MODEL)


@given(st.text(max_size=100))
def test_any_quoted_text_is_compared_as_it_is(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_filter(f'owner = "{escaped}"', Model).matches(Model(owner=value))
