"""What the edge knows of the call it is serving."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from llmgateway_server.principal import ANONYMOUS, Principal

PUBLIC = "public"
"""The scope of methods that ask for no credential."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method, as its proto says."""

    scope: str
    """A scope, or `public`. Empty means any valid key."""
    tenant_field: str = ""
    platform: bool = False


@dataclass(slots=True)
class Rpc:
    """One call of one method. Filled in by the guard before the method runs."""

    method: str
    """Without the slash in front, such as `llmgateway.v1.ChatService/CompleteChat`."""
    rule: Rule
    metadata: Mapping[str, str]
    """Of several values under one name, the last."""
    credentials: tuple[str, ...]
    """Every value of `authorization`."""
    time_remaining: float | None
    """What the caller's own deadline leaves, in seconds."""
    started: float
    """On the monotonic clock, in seconds."""
    request_id: str = ""
    deadline: float = 0.0
    """On the monotonic clock, in seconds."""
    principal: Principal = field(default=ANONYMOUS)


CURRENT: ContextVar[Rpc] = ContextVar("rpc")
"""The call that the running task serves. gRPC runs each call in a task of its own."""
