"""The catalogue: one immutable snapshot, the same whether it was loaded whole or changed step by step."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.admin_resources_pb2 import ApiKey, AuditEvent
from llmgateway.v1.model_service_pb2 import Model, Provider
from llmgateway_server.routing.catalogue import Catalogue
from tests.support.calls import KEY, PROVIDER, TENANT, catalogue_of, credential_of, deployment, resources

KEY_FIELDS = {"name": KEY, "secretHash": base64.b64encode(b"one" * 8).decode()}


def test_an_endpoint_joins_provider_and_deployment() -> None:
    provider = {
        "name": "providers/p",
        "wireFormat": "openai",
        "baseUrl": "https://one.example/v1/",
        "credential": "env:ONE",
        "headers": {"a": "1", "b": "1"},
        "vendor": "groq",
        "script": "{}",
    }
    own = deployment("d", headers={"b": "2"}, region="eu")
    endpoint = catalogue_of(provider, own).snapshot.served["deployments/d"].endpoint
    assert endpoint is not None
    assert endpoint.base_url == "https://one.example/v1"
    assert endpoint.credential.secret == "ONE"
    assert endpoint.headers == {"a": "1", "b": "2"}
    assert (endpoint.wire_format, endpoint.vendor, endpoint.region, endpoint.script) == ("openai", "groq", "eu", "{}")
    assert (endpoint.deployment, endpoint.provider, endpoint.upstream_model) == ("deployments/d", "providers/p", "up-d")


def test_a_deployment_goes_before_its_provider() -> None:
    provider = {**PROVIDER, "baseUrl": "https://one.example", "credential": "env:ONE"}
    own = deployment("d", baseUrl="https://two.example/", credential="env:TWO")
    endpoint = catalogue_of(provider, own).snapshot.served["deployments/d"].endpoint
    assert endpoint is not None
    assert (endpoint.base_url, endpoint.credential.secret) == ("https://two.example", "TWO")


def test_a_provider_without_a_credential_sends_none() -> None:
    endpoint = catalogue_of(PROVIDER, deployment("d")).snapshot.served["deployments/d"].endpoint
    assert endpoint is not None
    assert not endpoint.credential


def test_a_deployment_of_no_provider_has_a_problem() -> None:
    served = catalogue_of(deployment("d")).snapshot.served["deployments/d"]
    assert served.endpoint is None
    assert served.problem == "'providers/p' does not exist"


def test_secrets_do_not_show() -> None:
    catalogue = catalogue_of({**PROVIDER, "credential": "env:CANARY"}, deployment("d"))
    assert "CANARY" not in repr(catalogue.snapshot.served["deployments/d"].endpoint).replace("env:CANARY", "")


def test_a_key_is_found_by_both_of_its_secrets() -> None:
    previous = base64.b64encode(b"two" * 8).decode()
    snapshot = catalogue_of({**KEY_FIELDS, "previousSecretHash": previous}).snapshot
    assert snapshot.key_hashes == {b"one" * 8: KEY, b"two" * 8: KEY}


def test_a_removed_key_is_gone_at_once() -> None:
    catalogue = catalogue_of(KEY_FIELDS)
    catalogue.apply(ApiKey, KEY, None)
    assert catalogue.snapshot.keys == {}
    assert catalogue.snapshot.key_hashes == {}


def test_a_changed_provider_reaches_its_deployments() -> None:
    catalogue = catalogue_of(PROVIDER, deployment("d"))
    (changed,) = resources({**PROVIDER, "baseUrl": "https://new.example"})
    catalogue.apply(Provider, "providers/p", changed)
    endpoint = catalogue.snapshot.served["deployments/d"].endpoint
    assert endpoint is not None
    assert endpoint.base_url == "https://new.example"


def test_removing_what_is_not_there_is_nothing() -> None:
    catalogue = catalogue_of(PROVIDER)
    catalogue.apply(Model, "models/none", None)
    assert set(catalogue.snapshot.providers) == {"providers/p"}


def test_kinds_that_calls_do_not_need_are_passed_over() -> None:
    catalogue = catalogue_of(PROVIDER)
    before = catalogue.snapshot
    catalogue.apply(AuditEvent, "x", AuditEvent())
    assert catalogue.snapshot is before


def test_a_snapshot_in_hand_does_not_change() -> None:
    catalogue = catalogue_of(PROVIDER, deployment("d"))
    before = catalogue.snapshot
    catalogue.apply(Provider, "providers/p", None)
    assert set(before.providers) == {"providers/p"}
    assert before.served["deployments/d"].problem == ""
    assert catalogue.snapshot.served["deployments/d"].problem != ""


def test_every_change_counts() -> None:
    catalogue = Catalogue(credential_of)
    versions = [catalogue.version]
    catalogue.load(resources(PROVIDER))
    versions.append(catalogue.version)
    catalogue.apply(Provider, "providers/p", None)
    versions.append(catalogue.version)
    assert versions == sorted(set(versions))


_RESOURCES: tuple[Mapping[str, Any], ...] = (
    {"name": TENANT},
    KEY_FIELDS,
    PROVIDER,
    {"name": "providers/q", "wireFormat": "fake", "credential": "env:MISSING"},
    {"name": "models/a", "aliases": ["x"]},
    {"name": "models/b", "aliases": ["y"], "status": "STATUS_RETIRED"},
    deployment("d"),
    deployment("e", disabled=True),
    deployment("f", model="b"),
    deployment("g", provider="providers/q"),
    {"name": "routes/r", "targets": [{"model": "models/a"}]},
    {"name": "useCases/u", "route": "routes/r"},
)


@given(st.permutations(range(len(_RESOURCES))), st.sets(st.integers(0, len(_RESOURCES) - 1)))
def test_step_by_step_gives_what_loading_gives(order: list[int], removed: set[int]) -> None:
    """Whatever the order of the changes, the result is that of reading the store anew."""
    messages: list[Message] = resources(*_RESOURCES)
    names = [str(fields["name"]) for fields in _RESOURCES]
    stepwise = Catalogue(credential_of)
    for index in order:
        stepwise.apply(type(messages[index]), names[index], messages[index])
    for index in removed:
        stepwise.apply(type(messages[index]), names[index], None)
    whole = Catalogue(credential_of)
    whole.load(message for index, message in enumerate(messages) if index not in removed)
    assert stepwise.snapshot == whole.snapshot


@pytest.mark.parametrize("name", ["models/x", "models/a"])
def test_names_and_aliases_lead_to_the_model(name: str) -> None:
    assert catalogue_of(*_RESOURCES).snapshot.model_name(name) == "models/a"
