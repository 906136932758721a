"""The life of the process: signals during calls, crashes, and what a restart finds."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from llmgateway.v1 import chat_service_pb2, chat_service_pb2_grpc
from tests.support.gateway import Gateway, running_gateway

WORDS = 10
BETWEEN = 0.2
"""Seconds between two words: the stream of all of them outlasts a signal in its midst by more than a second."""


def body(words: int = WORDS) -> dict[str, Any]:
    """A streamed request that is answered a word at a time."""
    return {
        "model": "fake/echo",
        "stream": True,
        "messages": [{"role": "user", "content": " ".join(f"word{number}" for number in range(words))}],
        "provider_options": {"fake": {"delay_ms": int(BETWEEN * 1000)}},
    }


@asynccontextmanager
async def streaming(gateway: Gateway) -> AsyncGenerator[AsyncIterator[str]]:
    """The lines of a stream by REST, after the first one has come."""
    url = f"{gateway.url}/v1/chat/completions"
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("POST", url, json=body(), headers=gateway.bearer()) as response,
    ):
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert "word0" in await anext(lines)
        yield lines


def native() -> chat_service_pb2.ChatRequest:
    """The same question by gRPC."""
    request = chat_service_pb2.ChatRequest(model="fake/echo")
    request.messages.add(role="ROLE_USER").parts.add(text=body()["messages"][0]["content"])
    request.provider_options["fake"] = json.dumps(body()["provider_options"]["fake"])
    return request


async def ended(pid: int) -> None:
    """Returns when a child process of this one has exited, and leaves it to be waited for."""
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def refuses_new_calls(gateway: Gateway) -> bool:
    """Whether a new call is refused, by REST and by gRPC."""
    metadata = tuple(gateway.bearer().items())
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        try:
            answer = await client.get(f"{gateway.url}/v1/models", headers=gateway.bearer())
            rest = answer.status_code == 503
        except httpx.TransportError:
            rest = True
    async with grpc.aio.insecure_channel(gateway.grpc_address) as channel:
        call = chat_service_pb2_grpc.ChatServiceStub(channel).CompleteChat(native(), metadata=metadata, timeout=5)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return rest and error.code() == grpc.StatusCode.UNAVAILABLE
    return False


async def test_a_stream_by_rest_ends_whole_while_new_calls_are_refused(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        async with streaming(gateway) as lines:
            os.kill(gateway.pid, signal.SIGTERM)
            assert "word1" in await anext(line async for line in lines if line)
            assert await refuses_new_calls(gateway)
            rest = [line async for line in lines if line]
        assert "word9" in "".join(rest)
        assert rest[-1] == "data: [DONE]"
        await ended(gateway.pid)


async def test_a_stream_by_grpc_ends_whole_within_the_grace(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        async with grpc.aio.insecure_channel(gateway.grpc_address) as channel:
            metadata = tuple(gateway.bearer().items())
            call = chat_service_pb2_grpc.ChatServiceStub(channel).StreamChat(native(), metadata=metadata)
            events = [event async for event in call if event.sequence <= 2 or _signalled(gateway, event)]
        assert events[-1].HasField("finished")
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        await ended(gateway.pid)


def _signalled(gateway: Gateway, event: chat_service_pb2.ChatEvent) -> bool:
    if event.sequence == 3:
        os.kill(gateway.pid, signal.SIGTERM)
    return True


async def test_a_stream_longer_than_the_grace_ends_with_an_error_not_in_silence(tmp_path: Path) -> None:
    environment = {"LLMGATEWAY_SHUTDOWN__GRACE": "0.3"}
    with running_gateway(tmp_path, environment=environment) as gateway:
        async with grpc.aio.insecure_channel(gateway.grpc_address) as channel:
            metadata = tuple(gateway.bearer().items())
            call = chat_service_pb2_grpc.ChatServiceStub(channel).StreamChat(native(), metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the signal comes in its midst
                async for event in call:
                    _signalled(gateway, event)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        await ended(gateway.pid)


async def test_health_says_not_serving_before_calls_are_refused(tmp_path: Path) -> None:
    environment = {"LLMGATEWAY_SHUTDOWN__DELAY": "2"}
    with running_gateway(tmp_path, environment=environment) as gateway:
        async with (
            grpc.aio.insecure_channel(gateway.grpc_address) as channel,
            httpx.AsyncClient(base_url=gateway.url, timeout=5, trust_env=False) as client,
        ):
            watch = cast("Any", health_pb2_grpc.HealthStub(channel)).Watch(  # The stubs know no streams of health.
                health_pb2.HealthCheckRequest(service="llmgateway.v1.ChatService")
            )
            states = aiter(watch)
            assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING
            os.kill(gateway.pid, signal.SIGTERM)
            assert (await anext(states)).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/v1/models", headers=gateway.bearer())).status_code == 200
            watch.cancel()
        await ended(gateway.pid)


async def test_a_restart_knows_the_keys_and_every_finished_call(tmp_path: Path) -> None:
    key = "lgw_" + "k" * 40
    environment = {"LLMGATEWAY_ADMIN_KEY": key}
    for calls_before in (0, 3):
        with running_gateway(tmp_path, environment=environment) as gateway:
            async with httpx.AsyncClient(
                base_url=gateway.url, timeout=5, trust_env=False, headers={"authorization": f"Bearer {key}"}
            ) as client:
                records = (await client.get("/api/v1/tenants/default/usageRecords")).json().get("usageRecords", [])
                assert len(records) == calls_before
                for _ in range(3):
                    answer = await client.post(
                        "/v1/chat/completions",
                        json={"model": "fake/echo", "messages": [{"role": "user", "content": "hi"}]},
                    )
                    assert answer.status_code == 200


async def test_a_killed_gateway_takes_envoy_with_it_and_starts_again(tmp_path: Path) -> None:
    with (  # noqa: PT012 - leaving the block is what raises
        pytest.raises(AssertionError, match="exit code -9"),
        running_gateway(tmp_path) as gateway,
    ):
        os.kill(gateway.pid, signal.SIGKILL)
        await ended(gateway.pid)
        host, _, port = gateway.rest_address.partition(":")
        async with asyncio.timeout(5):
            while await _accepts(host, int(port)):  # noqa: ASYNC110 - the kernel ends Envoy and tells nobody
                await asyncio.sleep(0.01)
    with running_gateway(tmp_path) as again:
        async with httpx.AsyncClient(base_url=again.url, timeout=5, trust_env=False) as client:
            assert (await client.get("/health/ready")).status_code == 200


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
