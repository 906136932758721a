"""The two gateways that the cases run on: composed in this process, and whole behind Envoy."""

from collections.abc import AsyncIterator

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from tests.support.calling import GrpcTransport, RestTransport
from tests.support.gateway import Gateway
from tests.support.served import Served, served_gateway
from tests.support.world import World, world_of


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The gateway of this process."""
    async with served_gateway(tmp_path_factory.mktemp("served")) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def grpc_world(served: Served) -> AsyncIterator[World]:
    """The world of the gateway in this process."""
    async with world_of(served.address, served.key) as world:
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def grpc_transport(served: Served) -> AsyncIterator[GrpcTransport]:
    """Calls the gateway of this process by gRPC."""
    async with grpc.aio.insecure_channel(served.address) as channel:
        yield GrpcTransport(channel)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest_world(gateway: Gateway) -> AsyncIterator[World]:
    """The world of the gateway behind Envoy."""
    async with world_of(gateway.grpc_address, gateway.key) as world:
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest_transport(gateway: Gateway) -> AsyncIterator[RestTransport]:
    """Calls the gateway behind Envoy by REST."""
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        yield RestTransport(client)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest_cleaner(gateway: Gateway) -> AsyncIterator[GrpcTransport]:
    """Takes away what cases leave behind Envoy."""
    async with grpc.aio.insecure_channel(gateway.grpc_address) as channel:
        yield GrpcTransport(channel)
