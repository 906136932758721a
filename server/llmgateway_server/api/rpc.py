"""What the edge knows of the call it is serving."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from llmgateway_server.errors import GatewayError
from llmgateway_server.principal import ANONYMOUS, Principal

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What a request id may look like: visible ASCII, so that it goes into headers and logs as it is."""

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
    """Of several values under one name, the last. Names that end in `-bin` have bytes, and nobody here reads them."""
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
    last_words: Callable[[GatewayError], Any] | None = None
    """Makes the message that ends a stream which fails. Set by its method while the answer has begun and not ended:
    the status alone does not reach callers of REST then. `Any`: a message of the method's own type."""


CURRENT: ContextVar[Rpc] = ContextVar("rpc")
"""The call that the running task serves. gRPC runs each call in a task of its own."""
