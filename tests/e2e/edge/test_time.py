"""Time: long answers are not cut, and what cannot end well ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from llmgateway_server.edge import Edge, EdgeOptions
from llmgateway_server.edge.configuration import render
from tests.e2e.edge import raw
from tests.e2e.edge.upstream import Context, Upstream

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CHAT = "/v1/chat/completions"
POST = raw.request("POST", CHAT, "content-type: application/json", "content-length: 2", body=b"{}")


def event(text: str) -> HttpBody:
    return HttpBody(content_type="text/event-stream", data=f"data: {text}\n\n".encode())


class Endless:
    """An answer that begins and does not end until it is cancelled."""

    def __init__(self, *first: HttpBody) -> None:
        self.first = first
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request: HttpBody, context: Context) -> AsyncIterator[Message]:
        try:
            for message in self.first:
                yield message
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_caller_who_leaves_cancels_the_call_at_once(edge: Edge, upstream: Upstream, begun: bool) -> None:
    endless = Endless(*([event("1")] if begun else []))
    upstream.answer = endless
    reader, writer = await raw.connect(edge.address)
    writer.write(POST)
    await endless.begun.wait()
    if begun:
        await reader.readuntil(b"data: 1\n\n")
    writer.close()
    async with asyncio.timeout(0.1):
        await endless.cancelled.wait()


class TestSilence:
    """The idle timeout, scaled down from an hour to one second."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, stream_idle_timeout=1.0)

    async def test_a_stream_that_speaks_in_time_goes_on(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        async def slow(request: HttpBody, context: Context) -> AsyncIterator[Message]:
            for n in range(4):
                await asyncio.sleep(0.5)
                yield event(str(n))

        upstream.answer = slow
        response = await http.post(CHAT, json={})
        assert response.text == "".join(f"data: {n}\n\n" for n in range(4))

    async def test_silence_before_the_answer_is_504(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        upstream.answer = endless = Endless()
        response = await http.post(CHAT, json={})
        assert response.status_code == 504
        assert response.json()["error"]["type"] == "timeout"
        await endless.cancelled.wait()

    async def test_silence_within_it_breaks_the_stream_visibly(self, edge: Edge, upstream: Upstream) -> None:
        upstream.answer = endless = Endless(event("1"))
        answer = await raw.send(edge.address, POST)
        assert (answer.status, answer.body, answer.whole) == (200, b"data: 1\n\n", False)
        await endless.cancelled.wait()


async def test_by_default_nothing_ends_an_answer_before_an_hour_of_silence() -> None:
    shipped = render(EdgeOptions(listen="h:1", upstream="unix:u"), listen=("h", 1), upstream="{}", admin="{}")
    assert "stream_idle_timeout: 3600s" in shipped
    assert shipped.count("cluster: gateway") == shipped.count("cluster: gateway, timeout: 0s") + 1
    assert "timeout: 15s" not in shipped


class TestSlowHeaders:
    """The time for headers, scaled down from ten seconds to half a second."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, request_headers_timeout=0.5)

    async def test_they_are_408(self, edge: Edge) -> None:
        answer = await raw.send(edge.address, b"GET /v1/models HTTP/1.1\r\nhost: ")
        assert answer.status == 408
        body = json.loads(answer.body)
        assert (body["error"]["code"], body["code"]) == ("request_timeout", 4)


async def test_a_body_that_does_not_come_costs_the_server_nothing(edge: Edge, upstream: Upstream) -> None:
    _, writer = await raw.connect(edge.address)
    with closing(writer):
        writer.write(raw.request("POST", CHAT, "content-type: application/json", "content-length: 100", body=b"{"))
        await writer.drain()
        assert (await raw.send(edge.address, raw.request("GET", "/v1/models"))).status == 200
        assert [call.method.rpartition(".")[2] for call in upstream.received] == ["ListModels"]


async def test_callers_who_do_not_read_hold_up_nobody_else(
    edge: Edge, http: httpx.AsyncClient, upstream: Upstream
) -> None:
    """All callers share a connection to the server, so its flow control has to have room for those who wait."""
    sent = 0

    async def flood(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        nonlocal sent
        while True:
            yield HttpBody(content_type="text/event-stream", data=b"x" * 65536)
            sent += 1

    upstream.answer = flood
    deaf: list[socket.socket] = []
    try:
        # Almost as many as a connection to the server takes before Envoy opens another one.
        for _ in range(95):
            deaf.append(await connect_deaf(edge.address))
            await asyncio.get_running_loop().sock_sendall(deaf[-1], POST)
        while len(upstream.received) < len(deaf):
            await http.get("/nope")
        upstream.answer = None
        # Others are served while the deaf ones fill every buffer there is, and after that.
        since_last_sent = 0
        while since_last_sent < 5:
            before = sent
            response = await http.get("/v1/models", timeout=5.0)
            assert response.status_code == 200
            since_last_sent = since_last_sent + 1 if sent == before else 0
    finally:
        for connection in deaf:
            connection.close()


async def connect_deaf(address: str) -> socket.socket:
    """A connection that nothing reads from, with as little room as there can be."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = address.rpartition(":")
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    return connection
