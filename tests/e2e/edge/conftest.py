"""The real Envoy between a client and a scripted gRPC server. Tests of one module share them, and one event loop."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from llmgateway_server.edge import Edge, EdgeOptions
from tests.e2e.edge.upstream import Upstream


class Edges:
    """The edges of a module: one for each set of options that its tests ask for."""

    def __init__(self) -> None:
        self._running: dict[EdgeOptions, Edge] = {}

    async def get(self, options: EdgeOptions) -> Edge:
        if options not in self._running:
            edge = Edge(options)
            await edge.start()
            self._running[options] = edge
        return self._running[options]

    async def stop(self) -> None:
        for edge in self._running.values():
            await edge.stop()


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """A directory whose name is short enough for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        yield Path(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edges() -> AsyncIterator[Edges]:
    running = Edges()
    yield running
    await running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_upstream(sockets: Path) -> AsyncIterator[Upstream]:
    server = Upstream(f"unix:{sockets / 'shared'}")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    shared_upstream.reset()
    return shared_upstream


@pytest.fixture
def options(upstream: Upstream) -> EdgeOptions:
    """What the edge of a test is told. Tests that want something else have a fixture of this name."""
    return EdgeOptions(listen="127.0.0.1:0", upstream=upstream.address)


@pytest_asyncio.fixture(loop_scope="module")
async def edge(edges: Edges, options: EdgeOptions) -> Edge:
    return await edges.get(options)


@pytest_asyncio.fixture(loop_scope="module")
async def http(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{edge.address}", timeout=20.0, trust_env=False) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def channel(edge: Edge) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(edge.address) as open_channel:
        yield open_channel
