"""Native gRPC and gRPC-Web on the port of REST: our services, health, and on loopback reflection; nothing else."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from llmgateway.v1 import admin_service_pb2, admin_service_pb2_grpc, chat_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse
from llmgateway_server.edge import ALL_SERVICES, PUBLIC_SERVICES, Edge, EdgeOptions
from tests.e2e.edge.upstream import SERVICES, Context, Upstream, answers, fails

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

METHOD = "/llmgateway.v1.ChatService/CompleteChat"
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}


def framed(message: Message, flags: int = 0) -> bytes:
    data = message.SerializeToString()
    return struct.pack(">BI", flags, len(data)) + data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while data:
        flags, size = struct.unpack(">BI", data[:5])
        found.append((flags, data[5 : 5 + size]))
        data = data[5 + size :]
    return found


async def test_a_call_and_a_stream_pass(channel: grpc.aio.Channel, upstream: Upstream) -> None:
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    upstream.answer = answers(ChatResponse(response_id="r"))
    assert (await stub.CompleteChat(ChatRequest(model="models/m"))).response_id == "r"
    upstream.answer = answers(ChatEvent(sequence=1), ChatEvent(sequence=2))
    assert [event.sequence async for event in stub.StreamChat(ChatRequest())] == [1, 2]


async def test_a_status_keeps_its_trailers(channel: grpc.aio.Channel, upstream: Upstream) -> None:
    trailers = (("grpc-status-details-bin", b"\x08\x03"), ("retry-after", "1"), ("x-request-id", "r"))
    upstream.answer = fails(grpc.StatusCode.INVALID_ARGUMENT, "não", trailers)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(ChatRequest())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "não")
    assert set(trailers) <= set(caught.value.trailing_metadata())


async def test_health_and_reflection_are_there(channel: grpc.aio.Channel, upstream: Upstream) -> None:
    upstream.answer = answers(health_pb2.HealthCheckResponse(status="SERVING"))
    check = channel.unary_unary("/grpc.health.v1.Health/Check", None, health_pb2.HealthCheckResponse.FromString)
    health = await check(b"")
    assert health.status == health_pb2.HealthCheckResponse.SERVING

    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="*")

    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    parse = reflection_pb2.ServerReflectionResponse.FromString
    call = channel.stream_stream(method, reflection_pb2.ServerReflectionRequest.SerializeToString, parse)
    listed = [reply async for reply in call(ask())]
    names = {service.name for service in listed[0].list_services_response.service}
    assert names >= {service.full_name for service in SERVICES}


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.channelz.v1.Channelz/GetServers",
        "/llmgateway.v1.ChatServiceX/CompleteChat",
        "/llmgateway1v1.ChatService/CompleteChat",
        "/a.llmgateway.v1.ChatService/CompleteChat",
        "/llmgateway.v1.ChatService/CompleteChat/more",
        "/llmgateway.v1.ChatService/../grpc.channelz.v1.Channelz/GetServers",
        "/v1/chat/completions",
        "/",
    ],
)
async def test_what_is_not_listed_is_not_reached(channel: grpc.aio.Channel, upstream: Upstream, path: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(path)(b"")
    assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN}
    assert not upstream.reached


async def test_an_unknown_method_of_a_known_service_is_the_servers_to_refuse(
    channel: grpc.aio.Channel, upstream: Upstream
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/grpc.health.v1.Health/Nope")(b"")
    assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN}


@pytest.mark.parametrize("text", [False, True])
async def test_grpc_web_passes_on_the_same_port(http: httpx.AsyncClient, upstream: Upstream, text: bool) -> None:
    upstream.answer = answers(ChatResponse(response_id="r"))
    content = framed(ChatRequest(model="models/m"))
    headers = WEB
    if text:
        web_text = "application/grpc-web-text"
        content, headers = base64.b64encode(content), {"content-type": web_text, "accept": web_text}
    response = await http.post(METHOD, content=content, headers=headers)
    body = response.content
    if text:  # Each piece of it has a padding of its own.
        body = b"".join(base64.b64decode(piece) for piece in re.findall(b"[^=]+=*", body))
    (message, trailers) = frames(body)
    assert ChatResponse.FromString(message[1]).response_id == "r"
    assert trailers[0] == 0x80
    assert b"grpc-status:0" in trailers[1].replace(b" ", b"")
    assert upstream.last.request.model == "models/m"


async def test_grpc_web_sees_failures(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = fails(grpc.StatusCode.NOT_FOUND, "no")
    response = await http.post(METHOD, content=framed(ChatRequest()), headers=WEB)
    assert (response.status_code, response.headers["grpc-status"]) == (200, "5")


async def test_grpc_web_that_cannot_be_read_is_refused(http: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await http.post(METHOD, content=b"!!!!", headers={"content-type": "application/grpc-web-text"})
    assert (response.status_code, response.headers["grpc-status"]) == (400, str(grpc.StatusCode.INTERNAL.value[0]))
    assert not upstream.received


async def test_grpc_passes_without_http_2(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = answers(ChatResponse(response_id="r"))
    response = await http.post(METHOD, content=framed(ChatRequest()), headers={"content-type": "application/grpc"})
    assert ChatResponse.FromString(frames(response.content)[0][1]).response_id == "r"


async def test_a_grpc_path_speaks_grpc_alone(http: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await http.post(METHOD, json={})
    assert (response.status_code, response.json()["code"]) == (415, 3)
    response = await http.get(METHOD)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert not upstream.reached


class TestDeadlines:
    """`grpc-timeout` of native calls; a caller of REST has none."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, max_deadline=60.0)

    async def test_a_short_one_reaches_the_server(self, channel: grpc.aio.Channel, upstream: Upstream) -> None:
        await chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(ChatRequest(), timeout=30.0)
        assert upstream.last.time_remaining == pytest.approx(30.0, abs=1.0)

    async def test_a_long_one_is_cut(self, channel: grpc.aio.Channel, upstream: Upstream) -> None:
        await chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(ChatRequest(), timeout=1e6)
        assert upstream.last.time_remaining == pytest.approx(60.0, abs=1.0)

    async def test_one_that_passes_is_said(self, channel: grpc.aio.Channel, upstream: Upstream) -> None:
        async def never(request: ChatRequest, context: Context) -> AsyncIterator[Message]:
            await asyncio.Event().wait()
            yield ChatResponse()

        upstream.answer = never
        # Said by Envoy: the client itself waits longer.
        call = channel.unary_unary(METHOD)(b"", metadata=(("grpc-timeout", "50m"),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def test_none_stays_none(self, channel: grpc.aio.Channel, upstream: Upstream) -> None:
        await chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(ChatRequest())
        assert upstream.last.time_remaining is None

    @pytest.mark.parametrize("value", ["99999999H", "1n", "bogus"])
    async def test_rest_has_none(self, http: httpx.AsyncClient, upstream: Upstream, value: str) -> None:
        response = await http.post("/v1/chat/completions", json={}, headers={"grpc-timeout": value})
        assert response.status_code == 200
        assert upstream.last.time_remaining is None


@pytest.mark.parametrize(
    "header",
    [("grpc-timeout", "bogus"), ("grpc-encoding", "bogus"), ("grpc-previous-rpc-attempts", "x"), ("x-a-bin", "!!")],
)
async def test_a_header_that_grpc_cannot_parse_harms_nobody(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: Upstream, header: tuple[str, str]
) -> None:
    """gRPC remembers it with the connection, which all callers share, and would refuse good ones of the same name."""
    for _ in range(3):
        assert (await http.post("/v1/chat/completions", json={}, headers=[header])).status_code == 200
        await http.post(METHOD, content=framed(ChatRequest()), headers=[*WEB.items(), header])
        await http.post(METHOD, content=framed(ChatRequest()), headers=[("content-type", "application/grpc"), header])
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    calls = [
        stub.CompleteChat(
            ChatRequest(), timeout=30.0 + n, metadata=(("x-a-bin", b"ok"),), compression=grpc.Compression.Gzip
        )
        for n in range(10)
    ]
    await asyncio.gather(*calls)


class TestPublic:
    """What a network may reach."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, services=PUBLIC_SERVICES)

    @pytest.mark.parametrize("service", sorted(set(ALL_SERVICES) - set(PUBLIC_SERVICES)))
    async def test_admin_and_reflection_are_out_of_reach(
        self, channel: grpc.aio.Channel, upstream: Upstream, service: str
    ) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{service}/ListTenants")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert not upstream.reached

    @pytest.mark.parametrize("path", ["/api/v1/tenants", "/api/v1/tenants/t", "/api/v1/tenants/t/apiKeys"])
    async def test_nor_by_rest(self, http: httpx.AsyncClient, upstream: Upstream, path: str) -> None:
        assert (await http.get(path)).status_code == 404
        assert not upstream.received

    async def test_the_others_are_there(self, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
        assert (await http.get("/api/v1/models")).status_code == 200
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/health")).status_code == 200
        await chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(ChatRequest())


async def test_on_loopback_admin_is_there(edge: Edge, upstream: Upstream) -> None:
    async with grpc.aio.insecure_channel(edge.address) as channel:
        await admin_service_pb2_grpc.AdminServiceStub(channel).ListTenants(admin_service_pb2.ListTenantsRequest())
    assert upstream.last.method == "llmgateway.v1.AdminService.ListTenants"


async def test_a_call_that_the_caller_drops_is_cancelled(channel: grpc.aio.Channel, upstream: Upstream) -> None:
    cancelled = asyncio.Event()

    async def endless(request: ChatRequest, context: Context) -> AsyncIterator[Message]:
        try:
            yield ChatEvent(sequence=1)
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    upstream.answer = endless
    call = chat_service_pb2_grpc.ChatServiceStub(channel).StreamChat(ChatRequest())
    assert await call.read() == ChatEvent(sequence=1)
    call.cancel()
    async with asyncio.timeout(0.1):
        await cancelled.wait()
