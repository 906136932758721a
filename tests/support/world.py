"""Two tenants and keys of every sort, on a gateway that others use too; all of it is taken away at the end."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from tests.support.calling import GrpcTransport, Reply, bearer
from tests.support.transcoding import message_of, methods

EVERY_SCOPE = (
    "chat",
    "models:read",
    "models:write",
    "routing:read",
    "routing:write",
    "evaluation:read",
    "evaluation:write",
    "admin:read",
    "admin:write",
)
"""Every scope but the one that reaches beyond its own tenant."""


@dataclass(slots=True)
class World:
    """What tests of the API find."""

    address: str
    """Where the gateway speaks gRPC, `host:port`."""
    acme: str
    """The tenant of most keys, as `tenants/{tenant}`."""
    other: str
    """Another tenant."""
    keys: dict[str, str] = field(repr=False)
    """Keys by what they are good for: `admin` reaches everything, `tenant` all of its tenant, `chat` and `reader` what
    they say, `limited` a model that is not there, `foreign` all of the other tenant; `disabled`, `revoked`, `wrong` and
    `none` nothing."""
    made: list[str] = field(default_factory=list[str])
    """Names of what was made, to be taken away in the reverse order."""

    def metadata(self, who: str) -> tuple[tuple[str, str], ...]:
        """The metadata that somebody calls with."""
        return bearer(self.keys[who])


async def ask(transport: GrpcTransport, key: str, name: str, fields: Mapping[str, Any]) -> Reply:
    """Calls a method that must succeed."""
    method = methods()[name]
    reply = await transport.call(method, message_of(method, dict(fields)), bearer(key))
    assert reply.code == "OK", f"{name}: {reply.code} {reply.message}"
    return reply


@asynccontextmanager
async def world_of(address: str, key: str) -> AsyncGenerator[World]:
    """Makes a world on a gateway, by its admin key, and takes it away when left."""
    mark = secrets.token_hex(4)
    world = World(
        address,
        f"tenants/acme-{mark}",
        f"tenants/other-{mark}",
        {"admin": key, "none": "", "wrong": f"lgw_{secrets.token_hex(24)}"},
    )
    async with grpc.aio.insecure_channel(address) as channel:
        transport = GrpcTransport(channel)
        try:
            await _fill(world, transport, key)
            yield world
        finally:
            for name in reversed(world.made):
                await remove(transport, key, name)


async def _fill(world: World, transport: GrpcTransport, key: str) -> None:
    for tenant in (world.acme, world.other):
        await ask(transport, key, "AdminService/CreateTenant", {"tenantId": tenant.partition("/")[2], "tenant": {}})
        world.made.append(tenant)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "tenant": (world.acme, {"scopes": EVERY_SCOPE}),
        "chat": (world.acme, {"scopes": ["chat", "models:read"]}),
        "reader": (world.acme, {"scopes": ["admin:read"]}),
        "limited": (world.acme, {"scopes": ["chat", "models:read"], "allowedModels": ["models/none/*"]}),
        "disabled": (world.acme, {"scopes": EVERY_SCOPE, "disabled": True}),
        "revoked": (world.acme, {"scopes": EVERY_SCOPE}),
        "foreign": (world.other, {"scopes": EVERY_SCOPE}),
    }
    for who, (tenant, fields) in wanted.items():
        request = {"parent": tenant, "apiKeyId": who, "apiKey": fields}
        reply = await ask(transport, key, "AdminService/CreateApiKey", request)
        world.keys[who] = reply.messages[0]["secret"]
        world.made.append(f"{tenant}/apiKeys/{who}")
    await remove(transport, key, world.made.pop(world.made.index(f"{world.acme}/apiKeys/revoked")))


_DELETIONS = {
    "tenants": "AdminService/DeleteTenant",
    "apiKeys": "AdminService/DeleteApiKey",
    "providers": "ModelService/DeleteProvider",
    "models": "ModelService/DeleteModel",
    "deployments": "ModelService/DeleteDeployment",
    "routes": "RoutingService/DeleteRoute",
    "useCases": "RoutingService/DeleteUseCase",
}


async def remove(transport: GrpcTransport, key: str, name: str) -> None:
    """Deletes a resource, if it is still there."""
    segments = name.split("/")
    kind = segments[0] if segments[0] == "models" else segments[-2]
    method = methods()[_DELETIONS[kind]]
    reply = await transport.call(method, message_of(method, {"name": name}), bearer(key))
    assert reply.code in ("OK", "NOT_FOUND"), f"{name}: {reply.code} {reply.message}"
