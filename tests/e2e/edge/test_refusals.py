"""What Envoy refuses by itself: the right status, and a body in the shape of the surface that was asked."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.api.annotations_pb2 import http as http_rule
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from google.rpc import code_pb2

from llmgateway.v1.chat_service_pb2 import ChatResponse
from llmgateway_server.edge import Edge, EdgeOptions
from tests.e2e.edge import raw
from tests.e2e.edge.upstream import MEBIBYTE, OPTIONS, SERVICES, Context, Upstream, answers

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CHAT = "/v1/chat/completions"
NATIVE = "/api/v1/models/m:completeChat"
JSON = {"content-type": "application/json"}


def assert_openai(response: httpx.Response, status: int, kind: str, code: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (kind, code, None)
    assert error["message"]
    assert response.headers["x-request-id"]
    assert set(response.json()) == {"error"}


def assert_google(response: httpx.Response, status: int, code: code_pb2.Code, reason: str | None) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    body = response.json()
    assert body["code"] == code
    assert body["message"]
    assert [detail["reason"] for detail in body.get("details", [])] == ([reason] if reason else [])
    assert response.headers["x-request-id"]
    assert "error" not in body


async def test_an_unknown_path_is_404(http: httpx.AsyncClient, upstream: Upstream) -> None:
    assert_openai(await http.get("/v1/nope?key=secret"), 404, "invalid_request_error", "unknown_url")
    response = await http.get("/nope?key=secret")
    assert_google(response, 404, code_pb2.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert response.json()["message"] == "There is nothing at /nope; check the path."
    assert not upstream.received


def bindings() -> dict[str, set[str]]:
    """The methods that the services' annotations give each path, with an id for each variable."""
    methods: dict[str, set[str]] = defaultdict(set)
    for service in SERVICES:
        for method in service.methods:
            rule = method.GetOptions().Extensions[http_rule]  # pyright: ignore[reportArgumentType] - as others generate it
            for binding in (rule, *rule.additional_bindings):
                kind = binding.WhichOneof("pattern")
                if kind is not None:
                    template = re.sub(r"\{[^=}]+=([^}]+)\}", r"\1", getattr(binding, kind))
                    methods[template.replace("**", "a/b:c").replace("*", "a")].add(kind.upper())
    return methods


async def test_every_path_of_the_services_takes_its_methods_and_names_them_to_others(
    http: httpx.AsyncClient, upstream: Upstream, subtests: pytest.Subtests
) -> None:
    """Compares the routes of envoy.yaml with the annotations of the protos, in the real Envoy."""
    paths = bindings()
    assert len(paths) > 50
    for path, allowed in paths.items():
        form = path.startswith("/v1/audio/tr")
        headers = {"content-type": "multipart/form-data; boundary=x"} if form else JSON
        with subtests.test(path=path):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
                upstream.reset()
                response = await http.request(method, path, headers=headers)
                if method in allowed:
                    assert (method, response.status_code, len(upstream.received)) == (method, 200, 1)
                else:
                    assert (method, response.status_code) == (method, 405)
                    assert response.headers["allow"] == ", ".join(sorted(allowed))
                    assert not upstream.reached


async def test_a_wrong_method_is_405_in_json(http: httpx.AsyncClient) -> None:
    assert_openai(await http.put("/v1/models"), 405, "invalid_request_error", "method_not_allowed")
    assert_google(await http.get(NATIVE), 405, code_pb2.UNIMPLEMENTED, None)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_a_body_that_is_not_json_is_415(http: httpx.AsyncClient, upstream: Upstream, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = await http.post(CHAT, content=b"{}", headers=headers)
    assert_openai(response, 415, "invalid_request_error", "unsupported_content_type")
    response = await http.post(NATIVE, content=b"{}", headers=headers)
    assert_google(response, 415, code_pb2.INVALID_ARGUMENT, "INVALID_FIELD")
    response = await http.patch("/api/v1/models/m", content=b"{}", headers=headers)
    assert_google(response, 415, code_pb2.INVALID_ARGUMENT, "INVALID_FIELD")
    assert not upstream.received


async def test_a_form_goes_to_uploads_alone(http: httpx.AsyncClient, upstream: Upstream) -> None:
    assert (await http.post(CHAT, files={"file": b"x"})).status_code == 415
    assert (await http.post("/v1/audio/translations", json={})).status_code == 415
    assert not upstream.received


class TestSizes:
    """A body over the limit is 413 and nothing else, whether it says its size or not."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, body_limit=MEBIBYTE)

    @pytest.mark.parametrize("declared", [True, False])
    @pytest.mark.parametrize(("size", "status"), [(MEBIBYTE, 200), (MEBIBYTE + 1, 413), (2 * MEBIBYTE, 413)])
    async def test_the_limit_is_exact(
        self, http: httpx.AsyncClient, upstream: Upstream, declared: bool, size: int, status: int
    ) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b" " * size

        for _ in range(3):
            response = await http.post(CHAT, content=b" " * size if declared else pieces(), headers=JSON)
            assert response.status_code == status
        assert len(upstream.received) == (3 if status == 200 else 0)

    async def test_it_is_said_in_json(self, http: httpx.AsyncClient) -> None:
        too_much = b" " * (MEBIBYTE + 1)
        response = await http.post(CHAT, content=too_much, headers=JSON)
        assert_openai(response, 413, "invalid_request_error", "request_too_large")
        response = await http.post(NATIVE, content=too_much, headers=JSON)
        assert_google(response, 413, code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")
        assert str(MEBIBYTE) in response.json()["message"]

    async def test_a_body_need_not_be_sent_to_be_refused(self, edge: Edge) -> None:
        head = raw.request("POST", CHAT, "content-type: application/json", f"content-length: {40 * MEBIBYTE}")
        answer = await raw.send(edge.address, head)
        assert answer.status == 413


async def test_forty_mebibytes_are_refused_and_the_gateway_goes_on(
    edge: Edge, http: httpx.AsyncClient, upstream: Upstream
) -> None:
    pid = edge.pid
    for size in (33 * MEBIBYTE, 40 * MEBIBYTE):
        response = await http.post(CHAT, content=b" " * size, headers=JSON)
        assert response.status_code == 413
    assert (await http.post(CHAT, content=b"{}", headers=JSON)).status_code == 200
    assert edge.pid == pid
    assert len(upstream.received) == 1


class TestSmallServer:
    """A server that takes less than the edge lets through. gRPC refuses by itself, with a code that means 429."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def upstream(self, sockets: Path) -> AsyncIterator[Upstream]:
        small = {
            "grpc.max_receive_message_length": MEBIBYTE,
            "grpc.max_metadata_size": 4096,
            "grpc.absolute_max_metadata_size": 4097,
        }
        server = Upstream(f"unix:{sockets / 'small'}", options={**OPTIONS, **small})
        await server.start()
        yield server
        await server.stop()

    async def test_a_large_message_is_413(self, http: httpx.AsyncClient) -> None:
        response = await http.post(CHAT, content=b" " * (2 * MEBIBYTE), headers=JSON)
        assert_openai(response, 413, "invalid_request_error", "request_too_large")
        body = json.dumps({"endUser": "x" * 2 * MEBIBYTE})
        response = await http.post(NATIVE, content=body, headers=JSON)
        assert_google(response, 413, code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")

    async def test_large_headers_are_431(self, http: httpx.AsyncClient) -> None:
        await http.get("/v1/models")  # The first call of a connection is not checked.
        response = await http.post(CHAT, content=b"{}", headers={**JSON, "x-large": "x" * 8000})
        assert_openai(response, 431, "invalid_request_error", "headers_too_large")

    async def test_a_quota_stays_429(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        async def limited(request: HttpBody, context: Context) -> AsyncIterator[Message]:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down")
            yield HttpBody()

        upstream.answer = limited
        assert (await http.post(CHAT, content=b"{}", headers=JSON)).json() == {"code": 8, "message": "slow down"}


@pytest.mark.parametrize("headers", [{"x-large": "x" * 20_000}, {f"x-{n}": "1" for n in range(120)}])
async def test_headers_over_the_limit_are_431(
    http: httpx.AsyncClient, upstream: Upstream, headers: dict[str, str]
) -> None:
    response = await http.get("/v1/models", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (431, "application/json")
    # Envoy has not read the path yet, so the body serves both kinds of caller.
    body = response.json()
    assert (body["error"]["code"], body["error"]["type"]) == ("headers_too_large", "invalid_request_error")
    assert (body["code"], body["message"]) == (code_pb2.INVALID_ARGUMENT, body["error"]["message"])
    assert response.headers["x-request-id"]
    assert not upstream.received


async def test_headers_under_the_limit_pass_every_time(http: httpx.AsyncClient, upstream: Upstream) -> None:
    """gRPC refuses at random between a soft and a hard limit of its own; the soft one has to be above Envoy's."""
    for _ in range(30):
        response = await http.post(CHAT, content=b"{}", headers={**JSON, "x-large": "x" * 16_000})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"get /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: a\x00b\r\n\r\n",
        b"GET /v1/models/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/models/a%00b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/models#x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx_under_score: 1\r\n\r\n",
        raw.request("POST", CHAT, "content-type: application/json", "content-length: 1", "content-length: 2"),
        raw.request("POST", CHAT, "content-type: application/json", "content-length: 2", "transfer-encoding: chunked"),
        raw.request("POST", CHAT, "content-type: application/json", "transfer-encoding: chunked", body=b"zz\r\n"),
        raw.request("POST", CHAT, "content-type: application/json", "content-length: 99999999999999999999"),
    ],
)
async def test_http_that_cannot_be_read_is_400_in_json(edge: Edge, upstream: Upstream, data: bytes) -> None:
    answer = await raw.send(edge.address, data)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.headers["x-request-id"]
    body: dict[str, Any] = json.loads(answer.body)
    assert body["error"]["message"]
    assert not upstream.received


class TestNoServer:
    """The server is not there."""

    @pytest.fixture
    def upstream(self, sockets: Path) -> Upstream:
        return Upstream(f"unix:{sockets / 'nobody'}")

    async def test_it_is_503_in_json(self, http: httpx.AsyncClient) -> None:
        response = await http.post(CHAT, content=b"{}", headers=JSON)
        assert_openai(response, 503, "server_error", "service_unavailable")
        # Nothing of Envoy's own words, which name sockets and addresses.
        assert "nobody" not in response.text
        assert "upstream" not in response.text
        assert response.headers["retry-after"] == "1"
        assert_google(await http.post(NATIVE, json={}), 503, code_pb2.UNAVAILABLE, None)

    async def test_it_is_unavailable_by_grpc(self, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "nobody" not in str(caught.value.details())


async def test_a_server_that_goes_away_is_503_and_comes_back(http: httpx.AsyncClient, upstream: Upstream) -> None:
    assert (await http.get("/v1/models")).status_code == 200
    await upstream.stop()
    assert (await http.get("/v1/models")).status_code == 503
    await upstream.start()
    assert (await http.get("/v1/models")).status_code == 200


class TestOverload:
    """More than Envoy is allowed."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, max_connections=2)

    async def test_connections_over_the_limit_are_closed_and_the_others_served(self, edge: Edge) -> None:
        connections = [await raw.connect(edge.address) for _ in range(3)]
        try:
            answered = 0
            for reader, writer in connections:
                writer.write(raw.request("GET", "/v1/models"))
                with suppress(asyncio.IncompleteReadError, ConnectionResetError):
                    answered += (await raw.read_answer(reader)).status == 200
            assert answered == 2
        finally:
            for _, writer in connections:
                writer.close()

    async def test_memory_over_the_limit_is_503(self, upstream: Upstream) -> None:
        edge = Edge(EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, heap_limit=4 * MEBIBYTE))
        await edge.start()
        async with httpx.AsyncClient(base_url=f"http://{edge.address}", trust_env=False) as http, asyncio.timeout(10):
            while (response := await http.get("/v1/models")).status_code == 200:
                pass  # Envoy looks at its memory four times a second.
        await edge.stop()
        assert_openai(response, 503, "server_error", "service_unavailable")
        assert response.headers["retry-after"] == "1"


class TestLargeAnswers:
    """An answer over the limit."""

    @pytest.fixture
    def options(self, upstream: Upstream) -> EdgeOptions:
        return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address, answer_limit=MEBIBYTE)

    async def test_it_is_500_in_json(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        upstream.answer = answers(ChatResponse(response_id="x" * (2 * MEBIBYTE)))
        assert_google(await http.post(NATIVE, json={}), 500, code_pb2.INTERNAL, "INTERNAL")
