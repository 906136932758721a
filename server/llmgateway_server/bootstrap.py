"""Puts the gateway together: the only file that names concrete classes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from llmgateway.compat.v1 import openai_service_pb2, openai_service_pb2_grpc
from llmgateway.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    chat_service_pb2,
    chat_service_pb2_grpc,
    content_service_pb2,
    content_service_pb2_grpc,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    health_service_pb2,
    health_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    routing_service_pb2,
    routing_service_pb2_grpc,
)
from llmgateway.v1.admin_resources_pb2 import AuditEvent, HealthSummary, UsageRecord
from llmgateway_server import defaults
from llmgateway_server.admin import desired
from llmgateway_server.admin.collection import Collection
from llmgateway_server.admin.first_start import FirstStart, ensure_first_resources
from llmgateway_server.admin.identity import Authenticator
from llmgateway_server.admin.keys import KeyRotation
from llmgateway_server.admin.kinds import kinds
from llmgateway_server.admin.listing import RecordList
from llmgateway_server.api.chat import ChatService
from llmgateway_server.api.content import ContentService, Operations
from llmgateway_server.api.guard import Guard
from llmgateway_server.api.health import Component, Health, HealthService, Probe
from llmgateway_server.api.openai.service import OpenAIService
from llmgateway_server.api.resources import (
    AdminService,
    EvaluationService,
    ModelService,
    RoutingService,
    add_standard_methods,
    standard_methods,
)
from llmgateway_server.api.server import ServerOptions, Service, build_server, rules
from llmgateway_server.errors import GatewayError
from llmgateway_server.pipeline import build
from llmgateway_server.pipeline.authorize import authorize
from llmgateway_server.pipeline.call import OperationHandler
from llmgateway_server.pipeline.dispatch import Dispatch
from llmgateway_server.pipeline.meter import Meter
from llmgateway_server.pipeline.operations import OperationDispatch, build_operations
from llmgateway_server.pipeline.validate import validate
from llmgateway_server.ports.provider import Credential, Timeouts
from llmgateway_server.ports.storage import Store
from llmgateway_server.providers import WIRE_FORMATS, Providers
from llmgateway_server.providers.acceptance import accept
from llmgateway_server.providers.vendors import USUAL_VARIABLES
from llmgateway_server.routing.catalogue import Catalogue
from llmgateway_server.routing.planner import Planner
from llmgateway_server.settings import Settings, find_credential, provider_variables
from llmgateway_server.storage import open_store
from llmgateway_server.storage.usage_writer import UsageWriter
from llmgateway_server.system import SystemClock, SystemIds

_log = logging.getLogger(__name__)

_PROBE_SECONDS = 0.05
"""How long a part may take to say how it is doing."""


@dataclass(slots=True)
class Core:
    """What serves calls, without any address it could be reached at."""

    settings: Settings
    store: Store
    catalogue: Catalogue
    collections: Mapping[str, Collection[Any]]
    providers: Providers
    usage: UsageWriter
    first_start: FirstStart
    clock: SystemClock
    ids: SystemIds

    async def reload(self) -> None:
        """Reads the catalogue anew from the store.

        What this process changes while the store is read reaches the catalogue by itself; older news must not undo it.
        """
        while True:
            version = self.catalogue.version
            resources = await _all_resources(self.store, self.collections)
            if version == self.catalogue.version:
                self.catalogue.load(resources)
                return

    async def close(self) -> None:
        """Writes what waits and lets go of every connection."""
        await self.providers.close()
        await self.usage.close()
        await self.store.close()


async def open_core(settings: Settings, *, on_first_key: Callable[[str], None] = lambda _: None) -> Core:
    """Opens the store, brings its schema and the wanted resources up to date, and reads the catalogue.

    `on_first_key` is told the key that a first start makes up as soon as it is stored, for what follows may fail.
    """
    clock, ids = SystemClock(), SystemIds()
    store = await open_store(settings.database_url.get_secret_value())
    try:
        catalogue = Catalogue(lambda reference: Credential(find_credential(reference)))
        collections = {
            name: Collection(kind, store, clock=clock, ids=ids, on_change=catalogue.apply)
            for name, kind in kinds(wire_formats=frozenset(WIRE_FORMATS), accepts_provider=accept).items()
        }
        admin_key = settings.admin_key.get_secret_value() if settings.admin_key else ""
        first_start = await ensure_first_resources(store, clock=clock, ids=ids, admin_key=admin_key)
        if first_start.secret:
            on_first_key(first_start.secret)
        await _ensure_resources(settings, collections, empty=first_start.empty)
        catalogue.load(await _all_resources(store, collections))
    except BaseException:
        await store.close()
        raise
    return Core(
        settings=settings,
        store=store,
        catalogue=catalogue,
        collections=collections,
        providers=Providers(clock),
        usage=UsageWriter(store.usage_records),
        first_start=first_start,
        clock=clock,
        ids=ids,
    )


async def _ensure_resources(settings: Settings, collections: Mapping[str, Collection[Any]], *, empty: bool) -> None:
    if empty:
        await desired.apply(defaults.FIRST_RESOURCES, collections)
    for provider_id, variable in provider_variables({**USUAL_VARIABLES, **defaults.OWN_DIALECTS}).items():
        wanted = defaults.provider_from_environment(provider_id, variable)
        await desired.create_missing("providers", wanted, collections)
    changed = await desired.apply(settings.resources, collections)
    if changed:
        _log.info("resources follow the configuration", extra={"changed": len(changed)})


async def _all_resources(store: Store, collections: Mapping[str, Collection[Any]]) -> list[Message]:
    resources: list[Message] = []
    async with store.reading() as moment:
        for collection in collections.values():
            parent = "tenants/-" if collection.kind.parent else ""
            resources += [resource async for resource in moment.of(collection.kind.message).all(parent)]
    return resources


@dataclass(slots=True)
class Servers:
    """The gRPC servers and what they share."""

    guard: Guard
    health: Health
    public: grpc.aio.Server
    admin: grpc.aio.Server | None
    """Set when Admin and reflection are served apart."""


def build_servers(core: Core) -> Servers:
    """Builds the servers. They listen nowhere yet."""
    settings, clock, ids = core.settings, core.clock, core.ids
    timeouts = settings.timeouts
    planner = Planner(core.catalogue, random.random)
    dispatch = Dispatch(
        planner,
        core.providers.adapter,
        clock=clock,
        ids=ids,
        timeouts=_attempt_timeouts(settings),
    )
    meter = Meter(core.usage, clock, ids)
    stages = {"meter": meter, "authorize": authorize, "validate": validate}
    handler = build(stages, dispatch)

    health = Health(_service_names(), [_storage_probe(core.store)], clock.now())
    operations = Operations(_operations(core, meter, planner), clock)
    chat = ChatService(handler, operations, clock)
    openai = OpenAIService(handler, operations, lambda: core.catalogue.snapshot, clock)
    admin = AdminService(
        KeyRotation(core.collections["api_keys"], clock=clock, ids=ids),
        RecordList(UsageRecord, core.store.usage_records),
        RecordList(AuditEvent, core.store.audit_log),
        health,
    )
    models, routing, evaluation = ModelService(), RoutingService(), EvaluationService()
    for servicer, module, names in (
        (models, model_service_pb2, ("providers", "models", "deployments")),
        (routing, routing_service_pb2, ("routes", "use_cases")),
        (admin, admin_service_pb2, ("tenants", "api_keys")),
    ):
        add_standard_methods(servicer, [standard_methods(core.collections[name], module) for name in names])

    public_services = [
        _service(chat_service_pb2, "ChatService", chat, chat_service_pb2_grpc.add_ChatServiceServicer_to_server),
        _service(
            content_service_pb2,
            "ContentService",
            ContentService(operations),
            content_service_pb2_grpc.add_ContentServiceServicer_to_server,
        ),
        _service(
            openai_service_pb2, "OpenAIService", openai, openai_service_pb2_grpc.add_OpenAIServiceServicer_to_server
        ),
        _service(model_service_pb2, "ModelService", models, model_service_pb2_grpc.add_ModelServiceServicer_to_server),
        _service(
            routing_service_pb2,
            "RoutingService",
            routing,
            routing_service_pb2_grpc.add_RoutingServiceServicer_to_server,
        ),
        _service(
            evaluation_service_pb2,
            "EvaluationService",
            evaluation,
            evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server,
        ),
        _service(
            health_service_pb2,
            "HealthService",
            HealthService(health),
            health_service_pb2_grpc.add_HealthServiceServicer_to_server,
        ),
    ]
    admin_services = [
        _service(admin_service_pb2, "AdminService", admin, admin_service_pb2_grpc.add_AdminServiceServicer_to_server)
    ]
    guard = Guard(
        rules([*public_services, *admin_services]),
        Authenticator(lambda: core.catalogue.snapshot, clock),
        clock=clock,
        ids=ids,
        default_timeout=timeouts.request_default,
        max_timeout=timeouts.request_max,
    )
    options = _server_options(settings)
    if settings.separate_admin:
        public = build_server(public_services, guard, options, health=health.servicer, reflect=False)
        apart = build_server([*public_services, *admin_services], guard, options, health=health.servicer, reflect=True)
        return Servers(guard, health, public, apart)
    together = build_server([*public_services, *admin_services], guard, options, health=health.servicer, reflect=True)
    return Servers(guard, health, together, None)


def _operations(core: Core, meter: Meter, planner: Planner) -> OperationHandler:
    dispatch = OperationDispatch(
        planner,
        core.providers.operations,
        clock=core.clock,
        ids=core.ids,
        timeouts=_attempt_timeouts(core.settings),
    )
    return build_operations(meter, dispatch)


def _attempt_timeouts(settings: Settings) -> Timeouts:
    timeouts = settings.timeouts
    return Timeouts(
        connect=timeouts.connect, first_event=timeouts.first_event, idle=timeouts.idle, total=timeouts.total
    )


def _service(module: ModuleType, name: str, servicer: object, add: Callable[..., None]) -> Service:
    return Service(module.DESCRIPTOR.services_by_name[name], servicer, add)


def _service_names() -> list[str]:
    return [
        module.DESCRIPTOR.services_by_name[name].full_name
        for module, name in (
            (chat_service_pb2, "ChatService"),
            (content_service_pb2, "ContentService"),
            (openai_service_pb2, "OpenAIService"),
            (model_service_pb2, "ModelService"),
            (routing_service_pb2, "RoutingService"),
            (evaluation_service_pb2, "EvaluationService"),
            (admin_service_pb2, "AdminService"),
            (health_service_pb2, "HealthService"),
        )
    ]


def _server_options(settings: Settings) -> ServerOptions:
    limits, keepalive = settings.limits, settings.keepalive
    return ServerOptions(
        message_bytes=limits.message_bytes,
        metadata_bytes=limits.metadata_bytes,
        streams_per_connection=limits.streams_per_connection,
        keepalive_interval=keepalive.interval,
        keepalive_timeout=keepalive.timeout,
        max_age=keepalive.max_age,
        max_age_grace=keepalive.max_age_grace,
    )


def _storage_probe(store: Store) -> Probe:
    async def probe() -> Component:
        component = Component(component="storage", state=HealthSummary.STATE_OK)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await store.revision()
        except TimeoutError:
            component.state, component.message = HealthSummary.STATE_DEGRADED, "the database is slow to answer"
        except GatewayError:
            component.state, component.message = HealthSummary.STATE_DOWN, "the database does not answer"
        return component

    return probe
