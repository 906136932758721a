"""What each kind refuses besides what its descriptor says."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.content_pb2 import Generation
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Deployment, Model, Price, Provider
from llmgateway.v1.routing_service_pb2 import RetryPolicy, Route, Strategy, Target, Timeouts, UseCase
from llmgateway_server import names
from llmgateway_server.admin.collection import Collection
from llmgateway_server.admin.kinds import kinds
from llmgateway_server.errors import InvalidArgument, invalid_field
from llmgateway_server.storage import open_store
from tests.support.control_plane import OPERATOR, Plane

ECHO = Target(deployment="deployments/echo")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalogued() -> AsyncGenerator[Plane]:
    """One control plane with something in it, for tests that leave it as it is."""
    store = await open_store("sqlite://")
    plane = Plane(store)
    await plane.catalogue()
    await plane.models.update(Model(name="models/fake/echo", aliases=["parrot"]), caller=OPERATOR)
    yield plane
    await store.close()


def deployment(
    provider: str = "providers/fake", model: str = "models/fake/echo", upstream_model: str = "echo", **rest: Any
) -> Deployment:
    """A deployment that can be, but for what is said otherwise. `Any`: further fields."""
    return Deployment(provider=provider, model=model, upstream_model=upstream_model, **rest)


async def create(plane: Plane, resource: Message, resource_id: str = "new") -> Message:
    collection: Collection[Any] = next(
        each for each in plane.collections.values() if each.kind.message is type(resource)
    )
    parent = "tenants/acme" if collection.kind.parent else ""
    return await collection.create(resource, caller=OPERATOR, parent=parent, resource_id=resource_id)


@pytest.mark.parametrize(
    ("resource", "field"),
    [
        (Provider(wire_format="morse"), "provider.wire_format"),
        (Provider(wire_format="fake", base_url="example.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="ftp://example.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https:///v1"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://u:p@example.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://@example.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com/v1?key=1"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com/v1?"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com/#"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com:0"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com:99999"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://exa mple.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com\\@evil.example"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://exämple.com"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://example.com/\r\nx: y"), "provider.base_url"),
        (Provider(wire_format="fake", base_url="https://[::1"), "provider.base_url"),
        (Provider(wire_format="fake", credential="NAME"), "provider.credential"),
        (Provider(wire_format="fake", credential="env:"), "provider.credential"),
        (Provider(wire_format="fake", credential="env:A B"), "provider.credential"),
        (Provider(wire_format="fake", credential="env:1A"), "provider.credential"),
        (Provider(wire_format="fake", credential="file:"), "provider.credential"),
        (Provider(wire_format="fake", credential="vault:a"), "provider.credential"),
        (Provider(wire_format="fake", credential="env:LLMGATEWAY_ADMIN_KEY"), "provider.credential"),
        (Provider(wire_format="fake", headers={"x y": "a"}), "provider.headers"),
        (Provider(wire_format="fake", headers={"Authorization": "a"}), "provider.headers"),
        (Provider(wire_format="fake", headers={"X-Api-Key": "a"}), "provider.headers"),
        (Provider(wire_format="fake", headers={"Host": "a"}), "provider.headers"),
        (Provider(wire_format="fake", headers={"x-a": "a\r\nb: c"}), "provider.headers.x-a"),
        (Provider(wire_format="fake", headers={"x-a": "ä"}), "provider.headers.x-a"),
        (Provider(wire_format="fake", script="{"), "provider.script"),
        (Provider(wire_format="openai", script="{}"), "provider.script"),
        (Model(context_window=-1), "model.context_window"),
        (Model(max_output_tokens=-1), "model.max_output_tokens"),
        (Model(price=Price(input=-1)), "model.price.input"),
        (Model(price=Price(output_audio=10**15 + 1)), "model.price.output_audio"),
        (Model(capabilities=["chat", "Tools!"]), "model.capabilities[1]"),
        (Model(aliases=["a", "a"]), "model.aliases[1]"),
        (Model(aliases=["a//b"]), "model.aliases[0]"),
        (Model(aliases=["new"]), "model.aliases[0]"),
        (Model(aliases=["fake/echo"]), "model.aliases[0]"),
        (Model(aliases=["parrot"]), "model.aliases[0]"),
        (Model(replacement="parrot"), "model.replacement"),
        (Model(replacement="models/new"), "model.replacement"),
        (deployment(provider="fake"), "deployment.provider"),
        (deployment(provider="providers/none"), "deployment.provider"),
        (deployment(provider="models/fake/echo"), "deployment.provider"),
        (deployment(model="models/none"), "deployment.model"),
        (deployment(model="models/parrot"), "deployment.model"),
        (deployment(upstream_model=""), "deployment.upstream_model"),
        (deployment(weight=-1), "deployment.weight"),
        (deployment(weight=1_000_001), "deployment.weight"),
        (deployment(max_concurrency=-1), "deployment.max_concurrency"),
        (deployment(price=Price(output=-1)), "deployment.price.output"),
        (deployment(base_url="x"), "deployment.base_url"),
        (deployment(credential="x"), "deployment.credential"),
        (deployment(headers={"cookie": "x"}), "deployment.headers"),
        (Route(targets=[Target(weight=1)]), "route.targets[0]"),
        (Route(targets=[Target(deployment="")]), "route.targets[0].deployment"),
        (Route(targets=[ECHO, Target(deployment="deployments/none")]), "route.targets[1].deployment"),
        (Route(targets=[ECHO, Target(model="models/none")]), "route.targets[1].model"),
        (Route(targets=[Target(deployment="deployments/echo", weight=-1)]), "route.targets[0].weight"),
        (
            Route(
                strategy=Strategy.STRATEGY_WEIGHTED,
                targets=[Target(deployment="deployments/echo", weight=0), Target(model="models/fake/echo", weight=0)],
            ),
            "route.targets",
        ),
        (Route(targets=[ECHO], retry_policy=RetryPolicy(max_attempts=0)), "route.retry_policy.max_attempts"),
        (Route(targets=[ECHO], retry_policy=RetryPolicy(max_attempts=11)), "route.retry_policy.max_attempts"),
        (
            Route(targets=[ECHO], retry_policy=RetryPolicy(max_retries_per_deployment=6)),
            "route.retry_policy.max_retries_per_deployment",
        ),
        (Route(targets=[ECHO], timeouts=Timeouts(idle=Duration(seconds=-1))), "route.timeouts.idle"),
        (Route(targets=[ECHO], timeouts=Timeouts(total=Duration())), "route.timeouts.total"),
        (UseCase(), "use_case.route"),
        (UseCase(route="routes/none"), "use_case.route"),
        (UseCase(route="fast"), "use_case.route"),
        (UseCase(route="routes/fast", required_capabilities=["A"]), "use_case.required_capabilities[0]"),
        (UseCase(route="routes/fast", generation=Generation(temperature=9)), "use_case.generation.temperature"),
        (UseCase(route="routes/fast", generation=Generation(seed=1, top_p=float("nan"))), "use_case.generation.top_p"),
        (Tenant(allowed_models=["models/a", "gpt"]), "tenant.allowed_models[1]"),
        (Tenant(allowed_models=["models/"]), "tenant.allowed_models[0]"),
        (ApiKey(scopes=["chat", "everything"]), "api_key.scopes[1]"),
        (ApiKey(scopes=["chat", "chat"]), "api_key.scopes[1]"),
        (ApiKey(allowed_models=["models/[a-z]"]), "api_key.allowed_models[0]"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_is_refused(catalogued: Plane, resource: Message, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await create(catalogued, resource)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert caught.value.field == field


@pytest.mark.parametrize(
    "resource",
    [
        Provider(wire_format="openai", base_url="https://example.com/v1", credential="env:_A1", vendor="groq"),
        Provider(wire_format="openai", base_url="http://[::1]:8080", credential="file:/run/secrets/key"),
        Provider(wire_format="fake", script='{"chunks": 3}', headers={"x-team": "a b\tc", "OpenAI-Beta": ""}),
        Model(price=Price(input=0, output=10**15), capabilities=["chat", "json_schema"], aliases=["a/b", "c"]),
        Model(replacement="models/not-here-yet", status=Model.STATUS_RETIRED),
        deployment(weight=0, priority=-5, region="eu-west-1"),
        Route(targets=[ECHO, Target(model="models/fake/echo", weight=0)], strategy=Strategy.STRATEGY_WEIGHTED),
        Route(targets=[Target(deployment="deployments/echo", weight=0)], strategy=Strategy.STRATEGY_PRIORITY),
        Route(
            targets=[ECHO],
            retry_policy=RetryPolicy(max_attempts=10, max_retries_per_deployment=0),
            timeouts=Timeouts(idle=Duration(nanos=1)),
        ),
        UseCase(route="routes/fast", generation=Generation(temperature=0, seed=1)),
        Tenant(allowed_models=["*", "models/fake/*", "routes/fast", "useCases/*"]),
        ApiKey(scopes=["platform"], allowed_models=["models/*/echo"]),
    ],
)
async def test_what_can_be_is_kept(plane: Plane, resource: Message) -> None:
    await plane.catalogue()
    await create(plane, resource)


async def test_a_new_model_takes_no_alias_of_another(plane: Plane) -> None:
    await plane.models.create(Model(aliases=["parrot"]), caller=OPERATOR, resource_id="echo")
    with pytest.raises(InvalidArgument) as caught:
        await plane.models.create(Model(), caller=OPERATOR, resource_id="parrot")
    assert caught.value.field == "model_id"
    await plane.models.update(Model(name="models/echo", aliases=["budgie"]), caller=OPERATOR)
    await plane.models.create(Model(), caller=OPERATOR, resource_id="parrot")


async def test_a_use_case_keeps_its_route(plane: Plane) -> None:
    await plane.catalogue()
    await plane.use_cases.create(UseCase(route="routes/fast"), caller=OPERATOR, resource_id="chat")
    with pytest.raises(Exception, match="still used by useCases/chat"):
        await plane.routes.delete("routes/fast", caller=OPERATOR)


async def test_a_credential_is_not_quoted_when_it_is_refused(plane: Plane) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await create(plane, Provider(wire_format="openai", credential="hunter2"))
    assert "hunter2" not in str(caught.value)


async def test_what_adapters_refuse_is_refused(plane: Plane) -> None:
    def accepts(provider: Provider) -> None:
        raise invalid_field("provider.vendor", f"{provider.vendor!r} is not known.")

    kind = kinds(wire_formats=frozenset({"fake"}), accepts_provider=accepts)["providers"]
    providers = Collection[Provider](kind, plane.store, clock=plane.clock, ids=plane.ids, on_change=lambda *_: None)
    with pytest.raises(InvalidArgument, match=r"provider\.vendor"):
        await providers.create(Provider(wire_format="fake", vendor="x"), caller=OPERATOR, resource_id="a")


def test_the_table_agrees_with_itself() -> None:
    table = kinds(wire_formats=frozenset())
    for name, kind in table.items():
        assert names.PATTERNS[kind.name].collections[-1].lower() == name.replace("_", "")
        for path, target in ((each.path, each.target) for each in kind.references):
            [other] = [other for other in table.values() if other.message is target]
            assert (kind.message, path) in other.used_by
        for user, path in kind.used_by:
            [other] = [other for other in table.values() if other.message is user]
            assert any(each.path == path and each.target is kind.message for each in other.references)
        if kind.parent:
            [parent] = [other for other in table.values() if other.message is kind.parent]
            assert kind.message in parent.children
