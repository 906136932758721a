"""The standard methods of every kind of resource, and the services they belong to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from llmgateway.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    evaluation_service_pb2_grpc,
    model_service_pb2_grpc,
    routing_service_pb2_grpc,
)
from llmgateway.v1.admin_resources_pb2 import ApiKey, AuditEvent, HealthSummary, UsageRecord
from llmgateway_server.admin.caller import Caller
from llmgateway_server.admin.collection import Collection
from llmgateway_server.admin.listing import RecordList
from llmgateway_server.api.health import Health
from llmgateway_server.api.rpc import CURRENT

Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Context], Awaitable[Message]]
"""`Any`: the request message of the method."""


class RotateKey(Protocol):
    """Replaces the secret of a key and returns the key with the new one."""

    async def __call__(self, name: str, *, overlap: timedelta | None, caller: Caller) -> ApiKey:
        """The old secret works on for the overlap."""
        ...


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Providers, models and deployments."""


class RoutingService(routing_service_pb2_grpc.RoutingServiceServicer):
    """Routes and use cases."""


class EvaluationService(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    """Datasets, evaluations and their runs."""


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """Tenants, keys and records."""

    def __init__(
        self,
        rotate_key: RotateKey,
        usage_records: RecordList[UsageRecord],
        audit_events: RecordList[AuditEvent],
        health: Health,
    ) -> None:
        self._rotate_key = rotate_key
        self._usage_records = usage_records
        self._audit_events = audit_events
        self._health = health

    async def RotateApiKey(self, request: admin_service_pb2.RotateApiKeyRequest, context: Context) -> ApiKey:
        overlap = request.overlap.ToTimedelta() if request.HasField("overlap") else None
        return await self._rotate_key(request.name, overlap=overlap, caller=caller())

    async def ListUsageRecords(
        self,
        request: admin_service_pb2.ListUsageRecordsRequest,
        context: Context,
    ) -> admin_service_pb2.ListUsageRecordsResponse:
        page = await self._usage_records.list(**list_arguments(request))
        return admin_service_pb2.ListUsageRecordsResponse(usage_records=page.items, next_page_token=page.next_token)

    async def ListAuditEvents(
        self,
        request: admin_service_pb2.ListAuditEventsRequest,
        context: Context,
    ) -> admin_service_pb2.ListAuditEventsResponse:
        page = await self._audit_events.list(**list_arguments(request))
        return admin_service_pb2.ListAuditEventsResponse(audit_events=page.items, next_page_token=page.next_token)

    async def GetHealthSummary(
        self,
        request: admin_service_pb2.GetHealthSummaryRequest,
        context: Context,
    ) -> HealthSummary:
        return await self._health.summary()


def caller() -> Caller:
    """Who makes the call that the running task serves."""
    rpc = CURRENT.get()
    return Caller(rpc.principal, rpc.request_id)


def list_arguments(request: Any, *, parented: bool = True) -> dict[str, Any]:
    """The arguments that all lists share. `Any`: the request of any list."""
    arguments: dict[str, Any] = {
        "page_size": request.page_size,
        "page_token": request.page_token,
        "filter": request.filter,
    }
    if parented:
        arguments["parent"] = request.parent
    return arguments


def add_standard_methods(servicer: object, methods: Iterable[Mapping[str, Method]]) -> None:
    """Gives a servicer the standard methods of some kinds."""
    for table in methods:
        for name, method in table.items():
            setattr(servicer, name, method)


def standard_methods(collection: Collection[Any], service_module: Any) -> dict[str, Method]:
    """The five standard methods of a kind, by name. `Any`: they are the same for all kinds, so no kind is named.

    `service_module` is the generated module that holds the kind's requests.
    """
    kind = collection.kind
    singular, field = kind.name, kind.field
    list_response = GetMessageClass(service_module.DESCRIPTOR.message_types_by_name[f"List{singular}sResponse"])
    listed = list_response.DESCRIPTOR.fields[0].name

    async def create(request: Any, context: Context) -> Message:  # noqa: ARG001
        return await collection.create(
            getattr(request, field),
            caller=caller(),
            parent=request.parent if kind.parent else "",
            resource_id=getattr(request, f"{field}_id"),
            request_id=request.request_id,
        )

    async def get(request: Any, context: Context) -> Message:  # noqa: ARG001
        return await collection.get(request.name)

    async def list_(request: Any, context: Context) -> Message:  # noqa: ARG001
        page = await collection.list(**list_arguments(request, parented=kind.parent is not None))
        return list_response(**{listed: page.items, "next_page_token": page.next_token})

    async def update(request: Any, context: Context) -> Message:  # noqa: ARG001
        return await collection.update(getattr(request, field), caller=caller(), mask=request.update_mask.paths)

    async def delete(request: Any, context: Context) -> Empty:  # noqa: ARG001
        await collection.delete(request.name, caller=caller(), etag=request.etag)
        return Empty()

    return {
        f"Create{singular}": create,
        f"Get{singular}": get,
        f"List{singular}s": list_,
        f"Update{singular}": update,
        f"Delete{singular}": delete,
    }
