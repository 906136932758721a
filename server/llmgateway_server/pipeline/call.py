"""One request's journey: what the stages know of it and what they learn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.ports.operations import OperationRequest, OperationResponse
from llmgateway_server.principal import Principal

RequestT = TypeVar("RequestT", bound=ChatRequest | OperationRequest, default=ChatRequest)


@dataclass(slots=True)
class Call(Generic[RequestT]):
    """A request on its way through the stages; a conversation unless it says otherwise."""

    request: RequestT
    """Owned by the call: a stage may change it until dispatch sends it."""
    principal: Principal
    request_id: str
    method: str
    """The method that was called, such as `llmgateway.v1.ChatService/StreamChat`."""
    stream: bool
    """Whether the caller wants the answer piece by piece."""
    started: float
    """When the call began, on the monotonic clock, in seconds."""
    create_time: datetime
    deadline: float
    """When it must be done, on the monotonic clock, in seconds."""
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    """Every try so far, in order; written by dispatch."""
    upstream_seconds: float = 0.0
    """How long the call has waited for providers until now."""


AnyCall = Call[Any]
"""`Any`: a call of whatever kind, where only what all kinds have is looked at."""

Handler = Callable[[Call], AsyncIterator[ChatEvent]]
"""Answers a call with events. The iterator is an async generator: whoever opens it closes it."""

OperationHandler = Callable[[Call[OperationRequest]], AsyncIterator[OperationResponse]]
"""Answers an operation with messages, in the same way."""


class Stage(Protocol):
    """One layer of the pipeline.

    An async generator that may refuse (raise `GatewayError`), change the request, watch or change the events, answer by
    itself, or settle in `finally`. It opens the next handler with `aclosing`.
    """

    def __call__(self, call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
        """Answers the call, with or without the handler further in."""
        ...
