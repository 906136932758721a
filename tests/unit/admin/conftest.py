"""A control plane on a database in memory."""

from collections.abc import AsyncGenerator

import pytest

from llmgateway_server.storage import open_store
from tests.support.control_plane import Plane


@pytest.fixture
async def plane() -> AsyncGenerator[Plane]:
    store = await open_store("sqlite://")
    yield Plane(store)
    await store.close()
