"""Sends requests to providers and judges the heads of their answers, whatever it is that was asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.encodings import expander
from llmgateway_server.providers.failures import protocol_error, unavailable
from llmgateway_server.providers.retry_hints import reset_after, retry_after, should_retry
from llmgateway_server.providers.watchdog import CONNECT, Clockwork
from llmgateway_server.providers.wire import Headers, HttpRequest, OutgoingCall

Failure = Callable[[int, Headers, bytes], GatewayError]
"""Reads a refusal as one dialect writes it, from its status, headers and body."""

_SUCCESS = 2
"""First digit of the statuses of success."""

_MAX_ERROR_BYTES = 64 * 1024
_ERROR_SECONDS = 5.0
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid")

_log = logging.getLogger(__name__)


class Exchange:
    """Gets answers from providers. It may be used by many tasks at a time."""

    def __init__(self, client: HttpClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def ask(
        self, call: OutgoingCall, request: HttpRequest, clockwork: Clockwork, *, failure: Failure
    ) -> aiohttp.ClientResponse:
        """Sends the request and waits for the head of an answer of success, which the caller gives to `release`.

        Raises the provider's refusal as `failure` reads it, and PROVIDER_UNAVAILABLE for one that is out of reach.
        """
        response = await self._send(call, request, clockwork)
        if response.status // 100 == _SUCCESS:
            return response
        try:
            raise await self._refusal(response, clockwork, failure)
        finally:
            self.release(response)

    def release(self, response: aiohttp.ClientResponse) -> None:
        """Lets go of an answer. Its connection is closed at once, unless the answer was read to its end."""
        self._client.release(response)

    async def _send(self, call: OutgoingCall, request: HttpRequest, clockwork: Clockwork) -> aiohttp.ClientResponse:
        # A whole answer is silent until it is done, so that the time to its first event is the time to all of it.
        until = min(clockwork.first_event_at, clockwork.end) if call.stream else clockwork.end
        if clockwork.overdue:
            raise clockwork.expired()
        try:
            async with asyncio.timeout_at(until):
                return await self._client.send(request, connect=call.timeouts.connect)
        except aiohttp.ConnectionTimeoutError as error:
            raise clockwork.expired(CONNECT) from error
        except TimeoutError as error:
            raise clockwork.expired() from error
        except aiohttp.ClientResponseError as error:
            # The error's own `repr` shows the request's headers, so what caused it is kept instead.
            raise protocol_error(
                "the provider's answer is not HTTP, or its headers are too large."
            ) from error.__cause__
        except aiohttp.ClientConnectionError as error:
            raise unavailable(f"the provider is out of reach: {type(error).__name__}.") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise unavailable(
                "the request cannot be sent; check the provider's base_url, headers and credential.", retryable=False
            ) from error

    async def _refusal(self, response: aiohttp.ClientResponse, clockwork: Clockwork, failure: Failure) -> GatewayError:
        headers = response.headers
        body = await _error_body(response, clockwork)
        error = failure(response.status, headers, body)
        if (said := should_retry(headers)) is not None:
            error.retryable = said
        now = self._clock.now()
        hint = retry_after(headers, now)
        if hint is None:
            hint = error.retry_after
        if hint is None and error.reason == ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED:
            hint = reset_after(headers, now)
        error.retry_after = hint
        if request_id := next((headers[name] for name in _REQUEST_IDS if name in headers), ""):
            error.metadata["upstream_request_id"] = request_id
        return error


def content_type_of(headers: Headers) -> str:
    """The content type of an answer without its parameters, in lower case; empty when it says none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether a content type, as `content_type_of` gives it, is one of JSON."""
    return content_type in ("application/json", "text/json") or content_type.endswith("+json")


async def _error_body(response: aiohttp.ClientResponse, clockwork: Clockwork) -> bytes:
    """As much of an error's body as comes soon. The status alone says enough if nothing comes."""
    pieces: list[bytes] = []
    size = 0
    until = min(clockwork.end, asyncio.get_running_loop().time() + _ERROR_SECONDS)
    try:
        expand = expander(response.headers.get("content-encoding", ""))
        async with asyncio.timeout_at(until):
            while size < _MAX_ERROR_BYTES and (sent := await response.content.readany()):
                for piece in expand.feed(sent):
                    pieces.append(piece)
                    size += len(piece)
    except (TimeoutError, aiohttp.ClientError, GatewayError):
        _log.debug("error body cut off", extra={"status": response.status})
    if size >= _MAX_ERROR_BYTES:
        response.close()
    return b"".join(pieces)
