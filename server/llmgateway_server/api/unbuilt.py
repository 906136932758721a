"""Methods that the protos promise and this gateway does not have yet: they say so, with reason FEATURE_DISABLED."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from llmgateway_server.errors import feature_disabled

Context = grpc.aio.ServicerContext[Any, Any]


def fill_unbuilt(servicer: object, service: ServiceDescriptor) -> None:
    """Gives the servicer a refusal for every method of the service that neither it nor its class defines.

    The generated base class would answer these with an exception, which is no answer.
    """
    generated = type(servicer).__mro__[1]
    for method in service.methods:
        name = method.name
        built = name in vars(servicer) or getattr(type(servicer), name) is not getattr(generated, name)
        if not built:
            setattr(servicer, name, _refuse_stream(name) if method.server_streaming else _refuse(name))


def _refuse(name: str) -> Callable[[Message, Context], Any]:
    async def refuse(request: Message, context: Context) -> Message:  # noqa: ARG001 - gRPC's signature
        raise feature_disabled(name)

    return refuse


def _refuse_stream(name: str) -> Callable[[Message, Context], AsyncIterator[Message]]:
    async def refuse(request: Message, context: Context) -> AsyncIterator[Message]:  # noqa: ARG001
        raise feature_disabled(name)
        yield request  # Makes this a generator, as gRPC wants it.

    return refuse
