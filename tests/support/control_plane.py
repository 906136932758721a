"""A control plane with a clock that stands still, and everything that it does within sight."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, AuditEvent, Tenant
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway.v1.routing_service_pb2 import Route, UseCase
from llmgateway_server.admin.caller import SYSTEM, Caller
from llmgateway_server.admin.collection import Collection
from llmgateway_server.admin.kinds import kinds
from llmgateway_server.filters import EVERYTHING
from llmgateway_server.principal import Principal
from llmgateway_server.storage import SqlStore
from tests.support.system import CountingIds, StillClock

OPERATOR = Caller(Principal(tenant="tenants/default", api_key="", scopes=SYSTEM.principal.scopes), "call-1")


@dataclass
class Plane:
    """Everything that a test of the control plane touches."""

    store: SqlStore
    clock: StillClock = field(default_factory=StillClock)
    ids: CountingIds = field(default_factory=CountingIds)
    heard: list[tuple[type[Message], str, Message | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        table = kinds(wire_formats=frozenset({"fake", "openai"}))
        self.collections: dict[str, Collection[Any]] = {
            name: Collection(kind, self.store, clock=self.clock, ids=self.ids, on_change=self._hear)
            for name, kind in table.items()
        }

    def _hear(self, kind: type[Message], name: str, resource: Message | None, /) -> None:
        self.heard.append((kind, name, resource))

    @property
    def tenants(self) -> Collection[Tenant]:
        return self.collections["tenants"]

    @property
    def api_keys(self) -> Collection[ApiKey]:
        return self.collections["api_keys"]

    @property
    def providers(self) -> Collection[Provider]:
        return self.collections["providers"]

    @property
    def models(self) -> Collection[Model]:
        return self.collections["models"]

    @property
    def deployments(self) -> Collection[Deployment]:
        return self.collections["deployments"]

    @property
    def routes(self) -> Collection[Route]:
        return self.collections["routes"]

    @property
    def use_cases(self) -> Collection[UseCase]:
        return self.collections["use_cases"]

    async def audit(self) -> list[AuditEvent]:
        """All audit events, oldest first."""
        return list(reversed((await self.store.audit_log.page("tenants/-", "", 1000, EVERYTHING)).items))

    async def catalogue(self) -> None:
        """Makes a tenant, a provider, a model, a deployment and a route."""
        await self.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        await self.providers.create(Provider(wire_format="fake"), caller=OPERATOR, resource_id="fake")
        await self.models.create(Model(), caller=OPERATOR, resource_id="fake/echo")
        deployment = Deployment(provider="providers/fake", model="models/fake/echo", upstream_model="echo")
        await self.deployments.create(deployment, caller=OPERATOR, resource_id="echo")
        route = Route()
        route.targets.add(deployment="deployments/echo")
        await self.routes.create(route, caller=OPERATOR, resource_id="fast")
