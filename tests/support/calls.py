"""Builders of what the pipeline works on: requests, principals, calls and catalogues."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message as ProtoMessage

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest
from llmgateway.v1.content_pb2 import Message, Part, Role
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway.v1.routing_service_pb2 import Route, UseCase
from llmgateway_server.errors import GatewayError
from llmgateway_server.pipeline.call import Call
from llmgateway_server.ports.provider import Credential
from llmgateway_server.ports.system import Clock
from llmgateway_server.principal import Principal
from llmgateway_server.routing.catalogue import Catalogue

TENANT = "tenants/acme"
KEY = f"{TENANT}/apiKeys/laptop"

_KINDS: Mapping[str, type[ProtoMessage]] = {
    "tenants": Tenant,
    "apiKeys": ApiKey,
    "providers": Provider,
    "models": Model,
    "deployments": Deployment,
    "routes": Route,
    "useCases": UseCase,
}


def principal(*patterns: Sequence[str], scopes: Iterable[str] = ("chat",)) -> Principal:
    """A caller who may use what all lists of patterns let pass."""
    return Principal(tenant=TENANT, api_key=KEY, scopes=frozenset(scopes), allowed_models=patterns)


def question(words: str = "one two", *, model: str = "models/a") -> ChatRequest:
    """A request with one user message."""
    return ChatRequest(model=model, messages=[Message(role=Role.ROLE_USER, parts=[Part(text=words)])])


def call_of(
    request: ChatRequest,
    clock: Clock,
    *,
    caller: Principal | None = None,
    stream: bool = True,
    seconds: float = 60.0,
) -> Call:
    """A call that has `seconds` left."""
    return Call(
        request=request,
        principal=caller or principal(),
        request_id="request-1",
        method="llmgateway.v1.ChatService/StreamChat",
        stream=stream,
        started=clock.monotonic(),
        create_time=clock.now(),
        deadline=clock.monotonic() + seconds,
    )


async def collect(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    """All events of a handler, which is closed in any case."""
    async with aclosing(events) as opened:  # pyright: ignore[reportArgumentType] - a generator, by contract
        return [event async for event in opened]


async def read(events: AsyncIterator[ChatEvent]) -> tuple[list[ChatEvent], GatewayError | None]:
    """The events of a handler, and the error that they ended with, if they did."""
    seen: list[ChatEvent] = []
    try:
        async with aclosing(events) as opened:  # pyright: ignore[reportArgumentType] - a generator, by contract
            async for event in opened:
                seen.append(event)  # noqa: PERF401 - what came before an error counts
    except GatewayError as error:
        return seen, error
    return seen, None


def resources(*wanted: Mapping[str, Any]) -> list[ProtoMessage]:
    """Resources from proto JSON, each of the kind that its name says."""
    found: list[ProtoMessage] = []
    for fields in wanted:
        segments = str(fields["name"]).split("/")
        kind = "apiKeys" if "apiKeys" in segments else segments[0]
        found.append(json_format.ParseDict(dict(fields), _KINDS[kind]()))
    return found


def credential_of(reference: str) -> Credential:
    """The secret behind `env:NAME` is its name; there is none behind `env:MISSING`."""
    if reference == "env:MISSING":
        raise LookupError("the environment variable 'MISSING' is not set")
    return Credential(reference.removeprefix("env:"))


def catalogue_of(*wanted: Mapping[str, Any]) -> Catalogue:
    """A catalogue that holds these resources."""
    catalogue = Catalogue(credential_of)
    catalogue.load(resources(*wanted))
    return catalogue


PROVIDER = {"name": "providers/p", "wireFormat": "fake"}


def deployment(name: str, model: str = "a", **fields: Any) -> dict[str, Any]:
    """A deployment of a model at the provider `p`."""
    return {
        "name": f"deployments/{name}",
        "model": f"models/{model}",
        "provider": "providers/p",
        "upstreamModel": f"up-{name}",
        **fields,
    }
