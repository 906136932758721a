"""The planner: what a name stands for, who may serve it, and why others may not."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from llmgateway.v1.content_pb2 import Warning as CallWarning
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Model
from llmgateway.v1.routing_service_pb2 import Strategy
from llmgateway_server.errors import GatewayError, NotFound, Unavailable
from llmgateway_server.routing.catalogue import Catalogue
from llmgateway_server.routing.planner import Plan, Planner
from tests.support.calls import PROVIDER, catalogue_of, deployment, question, resources

MODEL = {"name": "models/a", "aliases": ["cheap", "team/best"]}


def plan(model: str, *wanted: Mapping[str, Any]) -> Plan:
    return Planner(catalogue_of(PROVIDER, MODEL, *wanted), lambda: 0.5).plan(question(model=model))


def order(found: Plan) -> list[str]:
    return [served.deployment.name.removeprefix("deployments/") for served in found.candidates]


def route(*targets: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "routes/r", "strategy": "STRATEGY_PRIORITY", "targets": list(targets), **fields}


def target(name: str, **fields: Any) -> dict[str, Any]:
    return {"deployment": f"deployments/{name}", **fields}


def refusal_of(model: str, *wanted: Mapping[str, Any]) -> GatewayError:
    with pytest.raises(GatewayError) as refusal:
        plan(model, *wanted)
    return refusal.value


@pytest.mark.parametrize("asked", ["models/a", "models/cheap", "models/team/best"])
def test_a_model_is_found_by_its_name_and_its_aliases(asked: str) -> None:
    found = plan(asked, deployment("one"))
    assert order(found) == ["one"]
    assert found.requested == asked
    assert found.candidates[0].endpoint is not None
    assert found.candidates[0].endpoint.upstream_model == "up-one"


def test_deployments_of_a_model_come_by_priority() -> None:
    found = plan("models/a", deployment("z"), deployment("a", priority=2), deployment("m", priority=1))
    assert order(found) == ["z", "m", "a"]
    assert found.strategy == Strategy.STRATEGY_WEIGHTED


def test_a_deployment_of_weight_zero_is_the_last_of_its_equals() -> None:
    assert order(plan("models/a", deployment("a", weight=0), deployment("b")))[-1] == "a"


def test_disabled_deployments_are_left_out() -> None:
    assert order(plan("models/a", deployment("a", disabled=True), deployment("b"))) == ["b"]


def test_other_models_deployments_are_left_out() -> None:
    assert order(plan("models/a", deployment("a"), {"name": "models/b"}, deployment("b", model="b"))) == ["a"]


@pytest.mark.parametrize("asked", ["models/b", "models/p/b", "models/A", "routes/none", "useCases/none"])
def test_an_unknown_name_is_not_found(asked: str) -> None:
    refusal = refusal_of(asked, deployment("one"))
    assert isinstance(refusal, NotFound)
    assert refusal.field == "model"
    assert refusal.metadata["resource"] == asked
    assert asked.removeprefix("models/") in refusal.message


def test_a_model_without_deployments_has_nobody() -> None:
    refusal = refusal_of("models/a")
    assert isinstance(refusal, Unavailable)
    assert refusal.reason == ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT
    assert refusal.retry_after == 30.0
    assert refusal.retryable


def test_a_retired_model_names_its_replacement() -> None:
    retired = {"name": "models/old", "status": "STATUS_RETIRED", "replacement": "models/a"}
    refusal = refusal_of("models/old", retired, deployment("one", model="old"))
    assert isinstance(refusal, NotFound)
    assert "models/a" in refusal.message
    assert refusal.metadata["replacement"] == "models/a"


def test_a_retired_model_is_no_target_of_a_route() -> None:
    retired = {"name": "models/old", "status": "STATUS_RETIRED"}
    found = plan(
        "routes/r",
        retired,
        deployment("one", model="old"),
        deployment("two"),
        route(target("one"), {"model": "models/old"}, target("two")),
    )
    assert order(found) == ["two"]
    assert found.refusals == (("deployments/one", "'models/old' is retired"),)


def test_a_deprecated_model_serves_with_a_warning() -> None:
    old = {"name": "models/old", "status": "STATUS_DEPRECATED", "replacement": "models/a"}
    (warning,) = plan("models/old", old, deployment("one", model="old")).warnings
    assert warning.code == CallWarning.CODE_MODEL_DEPRECATED
    assert warning.field == "model"
    assert "models/a" in warning.message


@pytest.mark.parametrize("status", [Model.STATUS_UNSPECIFIED, Model.STATUS_ACTIVE, Model.STATUS_TESTING])
def test_other_models_serve_without_a_word(status: Model.Status) -> None:
    assert plan("models/b", {"name": "models/b", "status": status}, deployment("one", model="b")).warnings == ()


UNLISTED = {"name": "providers/open", "wireFormat": "openai", "servesUnlistedModels": True}


@pytest.mark.parametrize("model_id", ["open/gpt-9", "open/meta/llama:70b", "open/模型"])
def test_a_provider_may_serve_what_nobody_listed(model_id: str) -> None:
    (served,) = plan(f"models/{model_id}", UNLISTED).candidates
    assert served.endpoint is not None
    assert served.endpoint.deployment == "providers/open"
    assert served.endpoint.upstream_model == model_id.removeprefix("open/")
    assert served.model is None


@pytest.mark.parametrize("model_id", ["open", "open/", "other/gpt", "p/gpt"])
def test_and_nothing_else_is_served_unlisted(model_id: str) -> None:
    assert isinstance(refusal_of(f"models/{model_id}", UNLISTED), NotFound)


def test_a_listed_model_goes_before_an_unlisted_one() -> None:
    found = plan("models/open/a", UNLISTED, {"name": "models/open/a"}, deployment("one", model="open/a"))
    assert order(found) == ["one"]


def test_an_unlisted_model_without_its_credential_has_nobody() -> None:
    refusal = refusal_of("models/open/a", {**UNLISTED, "credential": "env:MISSING"})
    assert refusal.reason == ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT


def test_a_missing_credential_sets_a_deployment_aside() -> None:
    found = plan("models/a", deployment("one", credential="env:MISSING"), deployment("two", credential="env:THERE"))
    assert order(found) == ["two"]
    assert found.refusals == (("deployments/one", "the environment variable 'MISSING' is not set"),)
    assert found.candidates[0].endpoint is not None
    assert found.candidates[0].endpoint.credential.secret == "THERE"


def test_a_route_tries_its_targets_in_order() -> None:
    names = ("c", "a", "b")
    found = plan("routes/r", *(deployment(name) for name in names), route(*(target(name) for name in names)))
    assert order(found) == ["c", "a", "b"]
    assert found.strategy == Strategy.STRATEGY_PRIORITY


def test_targets_have_their_own_priority_and_weight() -> None:
    found = plan(
        "routes/r",
        deployment("a", priority=0, weight=0),
        deployment("b", priority=9),
        route(target("b", priority=1), target("a", priority=2), strategy="STRATEGY_WEIGHTED"),
    )
    assert order(found) == ["b", "a"]


def test_a_model_as_a_target_stands_for_its_deployments() -> None:
    found = plan("routes/r", deployment("a"), deployment("b"), route({"model": "models/cheap"}))
    assert order(found) == ["a", "b"]


def test_a_deployment_is_tried_once() -> None:
    found = plan("routes/r", deployment("a"), deployment("b"), route(target("b"), {"model": "models/a"}))
    assert order(found) == ["b", "a"]


def test_a_route_tells_why_it_leaves_targets_out() -> None:
    found = plan(
        "routes/r",
        deployment("a", disabled=True),
        deployment("b", credential="env:MISSING"),
        deployment("c"),
        route(target("a"), target("b"), {"model": "models/a"}),
    )
    assert order(found) == ["c"]
    assert found.refusals == (
        ("deployments/a", "it is disabled"),
        ("deployments/b", "the environment variable 'MISSING' is not set"),
    )


def test_a_route_without_anybody_says_so() -> None:
    refusal = refusal_of("routes/r", deployment("a", disabled=True), route(target("a")))
    assert refusal.reason == ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT
    assert "deployments/a: it is disabled" in refusal.message


def test_a_use_case_is_served_by_its_route() -> None:
    use_case = {"name": "useCases/u", "route": "routes/r"}
    found = plan("useCases/u", deployment("a"), route(target("a")), use_case)
    assert order(found) == ["a"]
    assert found.requested == "useCases/u"


def test_a_use_case_without_its_route_names_the_route() -> None:
    refusal = refusal_of("useCases/u", {"name": "useCases/u", "route": "routes/gone"})
    assert refusal.metadata["resource"] == "routes/gone"


def test_a_routes_policy_and_timeouts_go_along() -> None:
    found = plan(
        "routes/r",
        deployment("a"),
        route(target("a"), retryPolicy={"maxAttempts": 2}, timeouts={"total": "5s"}),
    )
    assert found.retry_policy.max_attempts == 2
    assert found.timeouts.total.seconds == 5


def test_turns_are_counted_for_each_name() -> None:
    pair = (deployment("a"), deployment("b"))
    one = {**route(target("a"), target("b")), "strategy": "STRATEGY_ROUND_ROBIN"}
    planner = Planner(catalogue_of(PROVIDER, MODEL, *pair, one, {**one, "name": "routes/s"}), lambda: 0.5)
    firsts = Counter(order(planner.plan(question(model="routes/r")))[0] for _ in range(10))
    assert firsts == {"a": 5, "b": 5}
    assert order(planner.plan(question(model="routes/s")))[0] == "a"


def test_names_of_no_choice_are_not_remembered() -> None:
    """Callers name unlisted models as they like; what they name must not pile up."""
    planner = Planner(catalogue_of(UNLISTED), lambda: 0.5)
    for number in range(100):
        planner.plan(question(model=f"models/open/m{number}"))
    assert planner._turns == {}


def test_a_plan_follows_the_catalogue() -> None:
    catalogue: Catalogue = catalogue_of(PROVIDER, MODEL, deployment("a"))
    planner = Planner(catalogue, lambda: 0.5)
    assert order(planner.plan(question())) == ["a"]
    (changed,) = resources(deployment("a", disabled=True))
    catalogue.apply(type(changed), "deployments/a", changed)
    with pytest.raises(Unavailable):
        planner.plan(question())
