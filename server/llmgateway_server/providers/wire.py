"""What a wire format is: pure translation between our messages and one provider dialect, bytes in and bytes out.

`HttpAdapter` in `http.py` does all of the network's work; a wire format is tested with bytes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.content_pb2 import Warning as ChatWarning
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.operations import OperationCall
from llmgateway_server.ports.provider import ProviderCall

Headers = Mapping[str, str]
"""Headers of an answer. They are looked up by names in lower case."""

OutgoingCall = ProviderCall | OperationCall
"""One attempt at whatever it is. Both kinds have an endpoint, a deadline and timeouts."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a provider, ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    """Credentials included, so they are kept out of `repr`."""
    body: bytes = field(repr=False)
    warnings: tuple[ChatWarning, ...] = ()
    """What the dialect could not say. They reach the caller in `Started`."""


class Framing(Enum):
    """How a streamed body is cut into frames. The value is the content type that announces it."""

    SSE = "text/event-stream"
    NDJSON = "application/x-ndjson"


class Decoder(Protocol):
    """Turns one answer into events. Made for one answer, fed either one whole body or the frames of a stream.

    The first event is `Started`; `HttpAdapter` completes it with what is known of the endpoint. Events carry no
    sequence numbers yet. Every method raises `GatewayError`: for an error that the provider reports within its answer,
    the reason of that error; `PROVIDER_PROTOCOL_ERROR` for what the dialect does not allow; `STREAM_BROKEN` for a
    stream that ends before its time.
    """

    @property
    def done(self) -> bool:
        """Whether the terminal frame has come and `Finished` was given out."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer said why it ended, so that it is whole even if the terminal frame should not come."""
        ...

    @property
    def skipped(self) -> int:
        """How many malformed frames were skipped: 0 or 1, since the second one is an error."""
        ...

    def whole(self, body: bytes, headers: Headers) -> list[ChatEvent]:
        """The events of a whole answer, the same that a stream of it would have folded to."""
        ...

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        """The events of the frames that one network read brought. Adjacent deltas of one part come as one."""
        ...

    def end(self) -> list[ChatEvent]:
        """The last events, once the body has ended. Raises `STREAM_BROKEN` unless the answer is known to be whole."""
        ...


class WireFormat(Protocol):
    """One dialect. It holds no state, and may be used by many tasks at a time."""

    framing: Framing

    def encode(self, call: ProviderCall) -> HttpRequest:
        """The request that says what the call says.

        Raises `UNSUPPORTED_FEATURE` for content that the dialect cannot express, and, where the caller asks for
        strictness, for every field that it lacks; otherwise such fields are left out and named in `warnings`.
        """
        ...

    def decoder(self, call: ProviderCall) -> Decoder:
        """A fresh decoder for the answer to the call."""
        ...

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        """The error that an answer with this HTTP status stands for. Never raises.

        The text of the provider is passed on as it is; `HttpAdapter` bounds and scrubs it. `body` may be cut off.
        """
        ...
