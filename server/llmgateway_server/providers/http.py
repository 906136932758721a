"""Speaks any wire format over the network: sends what it encodes, reads what comes back, and explains what fails.

The order of one call: encode, connect and send, wait for the headers, judge status and content type, then read. The
first steps are in `exchange.py`, the body is read in `answers.py`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

import aiohttp

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.answers import Answer, StreamedAnswer, WholeAnswer
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.encodings import expander
from llmgateway_server.providers.exchange import Exchange, content_type_of, is_json
from llmgateway_server.providers.failures import explained, protocol_error
from llmgateway_server.providers.framing import READERS
from llmgateway_server.providers.watchdog import Clockwork
from llmgateway_server.providers.wire import Decoder, WireFormat

_log = logging.getLogger(__name__)


class HttpAdapter:
    """A `ChatAdapter` for any wire format that goes over HTTP.

    `Started` is held back until there is more, since up to then another provider may still serve. A refusal, a broken
    connection or silence before that raises its own reason; whatever fails later raises STREAM_BROKEN.
    """

    def __init__(self, wire: WireFormat, client: HttpClient, clock: Clock) -> None:
        self._wire = wire
        self._exchange = Exchange(client, clock)

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        request = self._wire.encode(call)
        decoder = self._wire.decoder(call)
        clockwork = Clockwork(call)
        response: aiohttp.ClientResponse | None = None
        answer: Answer | None = None
        begun = False
        try:
            response = await self._exchange.ask(call, request, clockwork, failure=self._wire.failure)
            answer = self._answer(call, response, decoder, clockwork)
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
                self._exchange.release(response)
            if decoder.skipped:
                _log.warning("malformed frame skipped", extra={"deployment": call.endpoint.deployment})

    def _answer(
        self, call: ProviderCall, response: aiohttp.ClientResponse, decoder: Decoder, clockwork: Clockwork
    ) -> Answer:
        """The answer as something to read. Raises PROVIDER_PROTOCOL_ERROR for what is no answer."""
        streams = _answers_as_stream(response, call, self._wire)
        expand = expander(response.headers.get("content-encoding", ""))
        if not streams:
            return WholeAnswer(response, expand, decoder, clockwork)
        reader = READERS[self._wire.framing]()
        return StreamedAnswer(response, expand, reader, decoder, clockwork, idle=call.timeouts.idle)


def _answers_as_stream(response: aiohttp.ClientResponse, call: ProviderCall, wire: WireFormat) -> bool:
    """Whether the body is a stream, by its content type; some servers do not do what they were asked.

    Raises PROVIDER_PROTOCOL_ERROR for a type that is neither a stream nor JSON, such as the HTML of a proxy.
    """
    content_type = content_type_of(response.headers)
    if not content_type:
        return call.stream
    if content_type == wire.framing.value:
        return True
    if is_json(content_type):
        return False
    raise protocol_error(f"the provider answered with the content type {content_type[:80]!r}.")
