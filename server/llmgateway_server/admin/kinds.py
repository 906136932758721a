"""The table of what is special about each kind of resource."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway.v1.routing_service_pb2 import Route, UseCase
from llmgateway_server.admin import checks
from llmgateway_server.admin.keys import fill_in_scopes, fill_in_secret
from llmgateway_server.admin.kind import Kind, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def kinds(
    *, wire_formats: frozenset[str], accepts_provider: Callable[[Provider], None] | None = None
) -> Mapping[str, Kind[Any]]:
    """Every kind of resource by the name of its collection, each after those that it refers to.

    `wire_formats` are those that providers may have. `accepts_provider` may raise `INVALID_FIELD` for what only the
    adapters know of. `Any`: kinds of different resources.
    """
    table: dict[str, Kind[Any]] = {
        "tenants": Kind(Tenant, "tenant", children=(ApiKey,), check=checks.check_tenant),
        "api_keys": Kind(
            ApiKey,
            "api_key",
            parent=Tenant,
            makes_ids=True,
            once=frozenset({"secret"}),
            hidden=frozenset({"secret_hash", "previous_secret_hash", "previous_prefix", "previous_expire_time"}),
            complete=fill_in_scopes,
            prepare=fill_in_secret,
            check=checks.check_api_key,
        ),
        "providers": Kind(
            Provider,
            "provider",
            used_by=((Deployment, "provider"),),
            check=checks.provider_check(wire_formats, accepts_provider),
        ),
        "models": Kind(
            Model,
            "model",
            used_by=((Deployment, "model"), (Route, "targets.model")),
            check=checks.check_model,
        ),
        "deployments": Kind(
            Deployment,
            "deployment",
            references=(Reference("model", Model), Reference("provider", Provider)),
            used_by=((Route, "targets.deployment"),),
            check=checks.check_deployment,
        ),
        "routes": Kind(
            Route,
            "route",
            references=(Reference("targets.deployment", Deployment), Reference("targets.model", Model)),
            used_by=((UseCase, "route"),),
            check=checks.check_route,
        ),
        "use_cases": Kind(
            UseCase,
            "use_case",
            references=(Reference("route", Route),),
            check=checks.check_use_case,
        ),
    }
    return MappingProxyType(table)
