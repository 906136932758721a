"""Tries, in memory alone, what a first start would make of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from llmgateway.v1.model_service_pb2 import Model
from llmgateway_server.admin import desired
from llmgateway_server.bootstrap import open_core
from llmgateway_server.settings import Settings

if TYPE_CHECKING:
    from llmgateway_server.admin.desired import Wanted


async def rehearse(resources: Wanted) -> list[Model]:
    """The models there would be. Raises `DesiredError` with everything that is wrong with the resources."""
    core = await open_core(Settings.model_construct(database_url=SecretStr("sqlite:///:memory:")))
    try:
        await desired.apply(resources, core.collections, keep_going=True)
        async with core.store.reading() as moment:
            return [model async for model in moment.of(Model).all("")]
    finally:
        await core.close()
