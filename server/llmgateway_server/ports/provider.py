"""What the core needs of a provider: an answer as a stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that a provider wants. It shows itself to nobody who prints it."""

    secret: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return "Credential(***)" if self.secret else "Credential()"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self.secret)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One deployment as an adapter sees it: where to send, what to send along. Made when the catalogue changes."""

    deployment: str
    """`deployments/{deployment}`, or `providers/{provider}` for a model that the catalogue does not list."""
    provider: str
    """`providers/{provider}`"""
    wire_format: str
    """The dialect, such as `openai`."""
    upstream_model: str
    base_url: str
    """Without a slash at the end. Empty means the wire format's own."""
    credential: Credential
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    vendor: str = ""
    """Name of the vendor row whose quirks apply. Empty means none."""
    region: str = ""
    script: str = ""
    """Script of a `fake` provider."""
    max_output_tokens: int = 0
    """Most tokens that an answer of the model may have, for dialects that want to be told. Zero means not known."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the steps of one attempt may take, in seconds."""

    connect: float = 5.0
    first_event: float = 30.0
    idle: float = 30.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One attempt: a valid request, the endpoint it goes to, and the moment by which it must be done."""

    request: ChatRequest
    """Never changed by an adapter."""
    endpoint: Endpoint
    stream: bool
    """Whether the caller wants the answer piece by piece. If not, the provider is asked for a whole reply."""
    deadline: float
    """A moment of the event loop's clock, in seconds."""
    timeouts: Timeouts = Timeouts()
    request_id: str = ""


class ChatAdapter(Protocol):
    """Speaks one wire format to one provider.

    Closing the iterator closes the connection at once. An adapter never sleeps, retries, logs content or changes the
    request. It may be used by many tasks at a time.
    """

    def chat(self, call: ProviderCall) -> AsyncIterator[ChatEvent]:
        """Yields `Started`, any number of `PartDelta`, and `Finished`; or raises `GatewayError`.

        What fails before the first event raises the reason of the refusal. What fails after it raises `STREAM_BROKEN`.
        The iterator is an async generator: whoever opens it closes it.
        """
        ...


class Closable(Protocol):
    """Something that holds connections."""

    async def close(self) -> None:
        """Lets go of them. Calls under way fail."""
        ...
