"""Which key is meant, and for how long."""

from datetime import timedelta

import pytest

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway_server.command.keyring import find_key, parse_lifetime
from llmgateway_server.command.report import Mistake

LAPTOP = ApiKey(name="tenants/acme/apiKeys/laptop", display_name="Ann's", prefix="lgw_aaaaaaaa")
PHONE = ApiKey(name="tenants/acme/apiKeys/phone", display_name="phone", prefix="lgw_bbbbbbbb")
OTHER = ApiKey(name="tenants/acme/apiKeys/x1", display_name="phone", prefix="lgw_cccccccc")


@pytest.mark.parametrize("wanted", ["tenants/acme/apiKeys/laptop", "laptop", "Ann's", "lgw_aaaaaaaa"])
def test_a_key_goes_by_its_name_its_id_its_prefix_and_what_people_call_it(wanted: str) -> None:
    assert find_key([LAPTOP, PHONE], wanted) == LAPTOP.name


def test_a_key_that_is_called_by_its_id_is_one_key() -> None:
    assert find_key([LAPTOP, PHONE], "phone") == PHONE.name


def test_no_key_is_picked_among_several() -> None:
    with pytest.raises(Mistake, match=f"'phone' may be any of {PHONE.name}, {OTHER.name}"):
        find_key([LAPTOP, PHONE, OTHER], "phone")


@pytest.mark.parametrize("wanted", ["", "lap", "lgw_", "LAPTOP"])
def test_a_key_is_not_guessed(wanted: str) -> None:
    with pytest.raises(Mistake, match="there is no key"):
        find_key([LAPTOP, PHONE, ApiKey(name="tenants/acme/apiKeys/nameless", prefix="lgw_dddddddd")], wanted)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("1s", timedelta(seconds=1)),
        ("99999w", timedelta(weeks=99_999)),
    ],
)
def test_a_lifetime_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert parse_lifetime(text) == span


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "1.5h", "30 d", "30D", "100000w", "٣d", "1y", "30d\n"])
def test_other_lifetimes_are_mistakes(text: str) -> None:
    with pytest.raises(Mistake, match="is not a span of time"):
        parse_lifetime(text)
