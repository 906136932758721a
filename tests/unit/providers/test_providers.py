"""The table of wire formats, the table of vendors, and what they refuse."""

from __future__ import annotations

import pytest

from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import Credential, Endpoint
from llmgateway_server.providers import WIRE_FORMATS, Providers
from llmgateway_server.providers.vendors import COMPATIBLE, OPENAI, USUAL_VARIABLES, VENDORS, vendor_of
from llmgateway_server.system import SystemClock
from tests.contract.providers.formats import CASES


def endpoint(*, wire_format: str = "openai", vendor: str = "", base_url: str = "") -> Endpoint:
    return Endpoint("deployments/d", "providers/p", wire_format, "m", base_url, Credential("secret"), vendor=vendor)


@pytest.mark.parametrize("name", WIRE_FORMATS)
async def test_wire_format_has_one_adapter(name: str) -> None:
    providers = Providers(SystemClock())

    assert providers.adapter(endpoint(wire_format=name)) is providers.adapter(endpoint(wire_format=name))
    await providers.close()
    await providers.close()


def test_unknown_wire_format_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        Providers(SystemClock()).adapter(endpoint(wire_format="telex"))

    assert (caught.value.reason_name, caught.value.field) == ("INVALID_FIELD", "provider.wire_format")
    assert "openai" in caught.value.message


@pytest.mark.parametrize(
    ("each", "vendor"),
    [
        (endpoint(), OPENAI),
        (endpoint(base_url="https://api.openai.com/v1"), OPENAI),
        (endpoint(base_url="http://127.0.0.1:8000/v1"), COMPATIBLE),
        (endpoint(vendor="openai", base_url="http://127.0.0.1:8000/v1"), OPENAI),
    ],
)
def test_vendor_follows_from_the_endpoint(each: Endpoint, vendor: object) -> None:
    assert vendor_of(each) is vendor


def test_vendor_without_an_address_needs_one() -> None:
    with pytest.raises(GatewayError) as caught:
        vendor_of(endpoint(vendor="openai-compatible"))

    assert caught.value.field == "provider.base_url"


def test_vendors_are_known_by_their_names() -> None:
    assert all(name == vendor.name for name, vendor in VENDORS.items())
    assert all(not vendor.base_url.endswith("/") for vendor in VENDORS.values())


@pytest.mark.parametrize("name", sorted(VENDORS.keys() - {"openai", "openai-compatible"}))
def test_vendor_has_its_cases(name: str) -> None:
    assert (CASES / "openai" / f"vendor_{name}.yaml").exists(), "write a case that shows how it differs"


def test_only_vendors_with_an_address_are_looked_for() -> None:
    assert all(VENDORS[name].base_url.startswith("https://") for name in USUAL_VARIABLES)
    assert len(set(USUAL_VARIABLES.values())) == len(USUAL_VARIABLES)
