"""What a wire format can do besides conversations: one small format an operation, looked up by the request's type."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol, runtime_checkable

import aiohttp

from llmgateway_server.errors import GatewayError, InvalidArgument, unsupported
from llmgateway_server.ports.operations import OperationCall, OperationResponse
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.answers import read_whole
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.encodings import expander
from llmgateway_server.providers.exchange import Exchange
from llmgateway_server.providers.failures import explained, unavailable
from llmgateway_server.providers.watchdog import Clockwork, Watchdog
from llmgateway_server.providers.wire import Headers, HttpRequest

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class OperationFormat(Protocol):
    """One operation of one dialect, answered at once. It holds no state, and may be used by many tasks at a time."""

    def encode(self, call: OperationCall) -> HttpRequest:
        """The request that says what the call says; raises UNSUPPORTED_FEATURE for what the dialect cannot say."""
        ...

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> OperationResponse:
        """The answer in a body, with `serving` set. Raises PROVIDER_PROTOCOL_ERROR for what is no answer."""
        ...

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        """The error that an answer with this HTTP status stands for, as `WireFormat.failure`."""
        ...


class PieceDecoder(Protocol):
    """Reads one answer that comes in pieces."""

    def feed(self, data: bytes) -> OperationResponse | None:
        """What a network read brought; None for nothing. Raises PROVIDER_PROTOCOL_ERROR for what is no answer."""
        ...

    def end(self) -> OperationResponse:
        """The last message, with `serving` set, once the body has ended as it should."""
        ...


@runtime_checkable
class StreamedFormat(Protocol):
    """One operation of one dialect whose answer is passed on as it comes."""

    def encode(self, call: OperationCall) -> HttpRequest:
        """As `OperationFormat.encode`."""
        ...

    def decoder(self, call: OperationCall, headers: Headers) -> PieceDecoder:
        """What reads the answer with these headers. Raises PROVIDER_PROTOCOL_ERROR for one that is none."""
        ...

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        """As `OperationFormat.failure`."""
        ...


Operations = Mapping[type, OperationFormat | StreamedFormat]
"""What one wire format can do, by the type of the request."""


def cannot(call: OperationCall) -> InvalidArgument:
    """The error for an operation that the provider of a call does not have."""
    wanted = _WORD.sub(" ", type(call.request).__name__.removesuffix("Request")).lower()
    return unsupported("model", f"{call.endpoint.provider!r} cannot {wanted}; name a model of one that can.")


class HttpOperations:
    """An `OperationAdapter` for a wire format's operations."""

    def __init__(self, formats: Operations, client: HttpClient, clock: Clock) -> None:
        self._formats = formats
        self._exchange = Exchange(client, clock)

    async def run(self, call: OperationCall) -> AsyncGenerator[OperationResponse]:
        operation = self._formats.get(type(call.request))
        if operation is None:
            raise cannot(call)
        request = operation.encode(call)
        clockwork = Clockwork(call)
        response: aiohttp.ClientResponse | None = None
        begun = False
        try:
            response = await self._exchange.ask(call, request, clockwork, failure=operation.failure)
            async with aclosing(_answers(operation, call, response, clockwork)) as answers:
                async for answer in answers:
                    if answer.HasField("serving"):
                        answer.serving.warnings.extend(request.warnings)
                    begun = True
                    yield answer
        except GatewayError as error:
            # The error itself may quote the credential; only what caused it is kept.
            raise explained(error, call, begun=begun) from error.__cause__
        finally:
            if response is not None:
                self._exchange.release(response)


async def _answers(
    operation: OperationFormat | StreamedFormat,
    call: OperationCall,
    response: aiohttp.ClientResponse,
    clockwork: Clockwork,
) -> AsyncGenerator[OperationResponse]:
    if isinstance(operation, StreamedFormat):
        decoder = operation.decoder(call, response.headers)
        async with aclosing(_reads(response, clockwork, idle=call.timeouts.idle)) as reads:
            async for sent in reads:
                if (answer := decoder.feed(sent)) is not None:
                    yield answer
        yield decoder.end()
    else:
        expand = expander(response.headers.get("content-encoding", ""))
        yield operation.decode(call, response.headers, await read_whole(response, expand, clockwork))


async def _reads(response: aiohttp.ClientResponse, clockwork: Clockwork, *, idle: float) -> AsyncGenerator[bytes]:
    """What each network read brings. Raises PROVIDER_UNAVAILABLE for a body that is cut, or too slow in coming."""
    expand = expander(response.headers.get("content-encoding", ""))
    watchdog = Watchdog(clockwork, on_expiry=response.close)
    watchdog.watch_until(clockwork.first_event_at)
    try:
        while sent := await response.content.readany():
            # While the caller has it, silence does not count against the provider.
            watchdog.rest()
            if data := b"".join(expand.feed(sent)):
                yield data
            watchdog.watch(idle)
    except aiohttp.ClientError as error:
        if watchdog.expired:
            raise clockwork.expired(watchdog.expired) from error
        raise unavailable("the provider's connection broke within its answer.") from error
    finally:
        watchdog.stop()
