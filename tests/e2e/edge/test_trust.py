"""What Envoy believes of a request: nothing that a caller could have made up."""

from __future__ import annotations

import uuid

import grpc
import grpc.aio
import httpx
import pytest

from llmgateway_server.edge import Edge
from tests.e2e.edge import raw
from tests.e2e.edge.upstream import Upstream, fails

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CHAT = "/v1/chat/completions"


async def test_headers_that_are_envoys_or_the_servers_own_are_taken_away(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    forged = {
        "x-envoy-original-path": "/forged",
        "x-envoy-original-method": "FORGED",
        "x-envoy-external-address": "8.8.8.8",
        "x-envoy-internal": "true",
        "x-envoy-decorator-operation": "forged",
        "x-error-body": "forged",
        "x-http-status": "299",
        "x-forwarded-proto": "https",
        "x-any-bin": "Zm9yZ2Vk",
        "grpc-status": "0",
    }
    response = await http.post(CHAT, json={}, headers=forged)
    assert response.status_code == 200
    metadata = upstream.last.metadata
    assert metadata["x-envoy-original-path"] == CHAT
    assert metadata["x-envoy-original-method"] == "POST"
    assert metadata["x-envoy-external-address"] == "127.0.0.1"
    assert metadata["x-forwarded-proto"] == "http"
    assert not {"x-envoy-internal", "x-error-body", "x-http-status", "x-any-bin", "grpc-status"} & set(metadata)
    assert not {value for value in metadata.values() if "forged" in str(value).lower()}


async def test_a_native_caller_cannot_pass_for_one_of_rest(edge: Edge, upstream: Upstream) -> None:
    async with grpc.aio.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/llmgateway.v1.ModelService/ListModels")
        await call(b"", metadata=(("x-envoy-original-path", "/v1/models"),))
    assert "x-envoy-original-path" not in upstream.last.metadata


async def test_the_last_forwarded_address_is_envoys_own_word(http: httpx.AsyncClient, upstream: Upstream) -> None:
    await http.post(CHAT, json={}, headers={"x-forwarded-for": "8.8.8.8"})
    first, last = str(upstream.last.metadata["x-forwarded-for"]).split(",")
    assert first == "8.8.8.8"
    assert last != "8.8.8.8"


async def test_no_caller_makes_envoy_retry_or_give_up(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = fails(grpc.StatusCode.UNAVAILABLE, "no")
    steering = {
        "x-envoy-retry-on": "5xx,reset,unavailable",
        "x-envoy-retry-grpc-on": "unavailable,internal,cancelled,resource-exhausted",
        "x-envoy-max-retries": "5",
        "x-envoy-upstream-rq-timeout-ms": "1",
    }
    assert (await http.post(CHAT, json={}, headers=steering)).status_code == 503
    assert len(upstream.received) == 1


async def test_two_credentials_reach_the_server_as_one_that_is_neither(edge: Edge, upstream: Upstream) -> None:
    head = ("content-type: application/json", "authorization: Bearer a", "authorization: Bearer b", "content-length: 2")
    answer = await raw.send(edge.address, raw.request("POST", CHAT, *head, body=b"{}"))
    assert answer.status == 200
    assert upstream.last.metadata["authorization"] == "Bearer a,Bearer b"


async def test_text_of_any_language_passes_in_a_header(edge: Edge, upstream: Upstream) -> None:
    header = "x-title: Größe".encode().decode("latin-1")
    await raw.send(edge.address, raw.request("GET", "/v1/models", header))
    assert upstream.last.metadata["x-title"] == "Größe"


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("//v1//models", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("/v1/./models", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("/x/../v1/models", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("/v1%2Fmodels", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("/v1/models/..%2F..%2Fapi%2Fv1%2Fmodels", "llmgateway.v1.ModelService.ListModels"),
        ("/v1/models/%2e%2e/%2e%2e/api/v1/models", "llmgateway.v1.ModelService.ListModels"),
        ("/v1\\models", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("http://elsewhere/v1/models", "llmgateway.compat.v1.OpenAIService.ListModels"),
        ("/../../../etc/passwd", None),
        ("/v1/models;x=1", None),
        ("/V1/MODELS", None),
        ("/v1/models/", None),
        ("/llmgateway.v1.AdminService/ListTenants", None),
        ("*", None),
    ],
)
async def test_a_path_by_another_spelling_is_the_same_call_or_none(
    edge: Edge, upstream: Upstream, target: str, method: str | None
) -> None:
    answer = await raw.send(edge.address, raw.request("GET", target))
    if method is None:
        assert answer.status in {400, 404, 405, 415}
        assert not upstream.received
    else:
        assert answer.status == 200
        assert [call.method for call in upstream.received] == [method]


@pytest.mark.parametrize(
    "header", ["x-http-method-override: DELETE", "x-method-override: DELETE", "x-http-method: DELETE"]
)
async def test_no_header_changes_the_method(edge: Edge, upstream: Upstream, header: str) -> None:
    await raw.send(edge.address, raw.request("GET", "/api/v1/models/m", header))
    assert upstream.last.method == "llmgateway.v1.ModelService.GetModel"


class TestRequestIds:
    """Every answer carries one."""

    async def test_the_callers_own_is_kept_as_it_is(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        for given in ("mine", "x" * 128, str(uuid.uuid4())):
            response = await http.post(CHAT, json={}, headers={"x-request-id": given})
            assert upstream.last.metadata["x-request-id"] == given
            assert response.headers["x-request-id"] == given

    async def test_one_is_made_where_there_is_none(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        response = await http.post(CHAT, json={})
        assert uuid.UUID(response.headers["x-request-id"])
        assert upstream.last.metadata["x-request-id"] == response.headers["x-request-id"]

    async def test_the_servers_word_is_the_last(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        upstream.answer = fails(grpc.StatusCode.NOT_FOUND, "", (("x-request-id", "theirs"),))
        response = await http.post(CHAT, json={}, headers={"x-request-id": "not a good one"})
        assert response.headers.get_list("x-request-id") == ["theirs"]

    async def test_what_envoy_answers_itself_has_one_too(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/nope", headers={"x-request-id": "mine"})).headers["x-request-id"] == "mine"
        assert len((await http.get("/nope", headers={"x-request-id": "x" * 5000})).headers["x-request-id"]) == 128

    async def test_a_native_answer_has_one(self, edge: Edge) -> None:
        async with grpc.aio.insecure_channel(edge.address) as channel:
            call = channel.unary_unary("/llmgateway.v1.ModelService/ListModels")(
                b"", metadata=(("x-request-id", "mine"),)
            )
            assert ("x-request-id", "mine") in tuple(await call.initial_metadata())


async def test_nothing_of_envoy_shows(http: httpx.AsyncClient) -> None:
    for path in ("/v1/models", "/api/v1/models", "/health", "/nope"):
        response = await http.get(path)
        assert response.headers["server"] == "llm-gateway"
        assert not [name for name in response.headers if "envoy" in name or name.startswith("grpc-")]
