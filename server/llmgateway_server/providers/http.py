"""All of the network's rules: sends what a wire format encodes, judges what comes back, and explains what fails.

The order of one call: encode, connect and send, wait for the headers, judge status and content type, then read. The
body is read in `answers.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import aiohttp

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.answers import Answer, StreamedAnswer, WholeAnswer
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.encodings import expander
from llmgateway_server.providers.failures import explained, protocol_error, unavailable
from llmgateway_server.providers.framing import READERS
from llmgateway_server.providers.retry_hints import reset_after, retry_after, should_retry
from llmgateway_server.providers.watchdog import CONNECT, Clockwork
from llmgateway_server.providers.wire import Decoder, HttpRequest, WireFormat

_SUCCESS = 2
"""First digit of the statuses of success."""

_MAX_ERROR_BYTES = 64 * 1024
_ERROR_SECONDS = 5.0
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid")

_log = logging.getLogger(__name__)


class HttpAdapter:
    """A `ChatAdapter` for any wire format that goes over HTTP.

    `Started` is held back until there is more, since up to then another provider may still serve. A refusal, a broken
    connection or silence before that raises its own reason; whatever fails later raises STREAM_BROKEN.
    """

    def __init__(self, wire: WireFormat, client: HttpClient, clock: Clock) -> None:
        self._wire = wire
        self._client = client
        self._clock = clock

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        request = self._wire.encode(call)
        decoder = self._wire.decoder(call)
        clockwork = Clockwork(call)
        response: aiohttp.ClientResponse | None = None
        answer: Answer | None = None
        begun = False
        try:
            response = await self._send(call, request, clockwork)
            answer = await self._judge(call, response, decoder, clockwork)
            while events := await answer.read():
                if not begun:
                    begun = True
                    events[0].started.warnings.extend(request.warnings)
                for event in events:
                    yield event
        except GatewayError as error:
            # The error itself may quote the credential; only what caused it is kept.
            raise explained(error, call, begun=begun) from error.__cause__
        finally:
            if answer is not None:
                answer.stop()
            if response is not None:
                self._client.release(response)
            if decoder.skipped:
                _log.warning("malformed frame skipped", extra={"deployment": call.endpoint.deployment})

    async def _send(self, call: ProviderCall, request: HttpRequest, clockwork: Clockwork) -> aiohttp.ClientResponse:
        """Sends the request and waits for the head of the answer."""
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

    async def _judge(
        self, call: ProviderCall, response: aiohttp.ClientResponse, decoder: Decoder, clockwork: Clockwork
    ) -> Answer:
        """The answer as something to read. Raises the provider's refusal, and for what is no answer."""
        if response.status // 100 != _SUCCESS:
            raise await self._refusal(response, clockwork)
        streams = _answers_as_stream(response, call, self._wire)
        expand = expander(response.headers.get("content-encoding", ""))
        if not streams:
            return WholeAnswer(response, expand, decoder, clockwork)
        reader = READERS[self._wire.framing]()
        return StreamedAnswer(response, expand, reader, decoder, clockwork, idle=call.timeouts.idle)

    async def _refusal(self, response: aiohttp.ClientResponse, clockwork: Clockwork) -> GatewayError:
        headers = response.headers
        body = await _error_body(response, clockwork)
        error = self._wire.failure(response.status, headers, body)
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


def _answers_as_stream(response: aiohttp.ClientResponse, call: ProviderCall, wire: WireFormat) -> bool:
    """Whether the body is a stream, by its content type; some servers do not do what they were asked.

    Raises PROVIDER_PROTOCOL_ERROR for a type that is neither a stream nor JSON, such as the HTML of a proxy.
    """
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content_type:
        return call.stream
    if content_type == wire.framing.value:
        return True
    if content_type in ("application/json", "text/json") or content_type.endswith("+json"):
        return False
    raise protocol_error(f"the provider answered with the content type {content_type[:80]!r}.")


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
