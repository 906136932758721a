"""Reads the body of an answer, whole or as a stream, and gives it to the decoder.

Both kinds are read with `read`, which returns events until there are none left. Whoever opened the answer closes its
connection.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import aiohttp

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway_server.providers.encodings import Expander
from llmgateway_server.providers.failures import protocol_error, unavailable
from llmgateway_server.providers.framing import FrameReader
from llmgateway_server.providers.watchdog import Clockwork, Watchdog
from llmgateway_server.providers.wire import Decoder

MAX_WHOLE_BYTES = 64 * 1024 * 1024
"""The largest whole answer that is taken, after decompression."""

_LINGER_SECONDS = 0.25


class Answer(Protocol):
    """The body of an answer that is being read. Used by one task."""

    async def read(self) -> list[ChatEvent]:
        """The next events; none at the end. The first ones are `Started` and at least one more.

        Raises `GatewayError`, after which there is nothing more to read.
        """
        ...

    def stop(self) -> None:
        """Lets go of timers. Nothing is read afterwards."""
        ...


async def read_whole(response: aiohttp.ClientResponse, expander: Expander, clockwork: Clockwork) -> bytes:
    """All of a body.

    Raises PROVIDER_PROTOCOL_ERROR for more than `MAX_WHOLE_BYTES` bytes, PROVIDER_UNAVAILABLE for less than all of it.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout_at(clockwork.end):
            while sent := await response.content.readany():
                for piece in expander.feed(sent):
                    pieces.append(piece)
                    size += len(piece)
                    if size > MAX_WHOLE_BYTES:
                        raise protocol_error(f"the provider sent an answer of more than {MAX_WHOLE_BYTES} bytes.")
    except TimeoutError as error:
        raise clockwork.expired() from error
    except aiohttp.ClientError as error:
        raise unavailable("the provider's connection broke within its answer.") from error
    return b"".join(pieces)


class WholeAnswer:
    """An answer that comes in one piece."""

    def __init__(
        self, response: aiohttp.ClientResponse, expander: Expander, decoder: Decoder, clockwork: Clockwork
    ) -> None:
        self._response = response
        self._expander = expander
        self._decoder = decoder
        self._clockwork = clockwork

    async def read(self) -> list[ChatEvent]:
        if self._decoder.done:
            return []
        body = await read_whole(self._response, self._expander, self._clockwork)
        return self._decoder.whole(body, self._response.headers)

    def stop(self) -> None:
        """There is no timer to let go of."""


class StreamedAnswer:
    """An answer that comes piece by piece: one network read, one call of the decoder."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        expander: Expander,
        reader: FrameReader,
        decoder: Decoder,
        clockwork: Clockwork,
        *,
        idle: float,
    ) -> None:
        self._response = response
        self._expander = expander
        self._reader = reader
        self._decoder = decoder
        self._clockwork = clockwork
        self._idle = idle
        self._held: list[ChatEvent] = []
        self._begun = False
        self._watchdog = Watchdog(clockwork, on_expiry=response.close)
        self._watchdog.watch_until(clockwork.first_event_at)

    async def read(self) -> list[ChatEvent]:
        if self._decoder.done:
            await self._linger()
            return []
        if self._begun:
            self._watchdog.watch(self._idle)
        while True:
            self._held += await self._next_events()
            # `Started` says nothing of the answer yet. Until more comes, another provider may still serve.
            if self._begun or len(self._held) > 1:
                break
        self._begun = True
        self._watchdog.rest()
        events, self._held = self._held, []
        return events

    def stop(self) -> None:
        self._watchdog.stop()

    async def _next_events(self) -> list[ChatEvent]:
        """The events of the next network read that has any. Comments and empty deltas are no sign of life."""
        while True:
            try:
                sent = await self._response.content.readany()
            except aiohttp.ClientError as error:
                return self._broken_off(error)
            if not sent:
                events = self._decoder.feed(self._reader.end())
                return events if self._decoder.done else events + self._decoder.end()
            frames = [frame for piece in self._expander.feed(sent) for frame in self._reader.feed(piece)]
            if frames and (events := self._decoder.feed(frames)):
                return events

    def _broken_off(self, error: aiohttp.ClientError) -> list[ChatEvent]:
        """What is left of an answer whose connection broke, or that was too slow. Most often an error."""
        if self._watchdog.expired:
            raise self._clockwork.expired(self._watchdog.expired) from error
        if self._decoder.finished:
            return self._decoder.end()
        raise unavailable("the provider's connection broke within its answer.") from error

    async def _linger(self) -> None:
        """Waits a moment for the end of the body after the last frame, so that the connection can be used again."""
        self._watchdog.watch(_LINGER_SECONDS)
        try:
            while await self._response.content.readany():
                pass
        except aiohttp.ClientError:
            # The answer is whole; only the connection is lost.
            self._response.close()
