"""`migrate`: the schema of the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from llmgateway_server.command.options import ConfigFile
from llmgateway_server.command.report import one_line, show

if TYPE_CHECKING:
    from llmgateway_server.storage.migrate import Migration


def migrate(
    allow_data_loss: Annotated[
        bool, typer.Option("--allow-data-loss", help="Run migrations that drop data, too. Make a backup first.")
    ] = False,
    config: ConfigFile = "",
) -> None:
    """Bring the schema of the database up to date.

    Where there is no database it makes one. `serve` does all of this, too.
    """
    from llmgateway_server.settings import SettingsError, load
    from llmgateway_server.storage import DatabaseRefused
    from llmgateway_server.storage.address import parse_address

    with one_line(SettingsError, DatabaseRefused):
        url = load(config).database_url.get_secret_value()
        done = asyncio.run(_migrate(url, allow_data_loss=allow_data_loss))
        where = parse_address(url).text
    if done.before == done.after:
        show(f"{where} has schema {done.after} already. Nothing was done.")
    elif done.before is None:
        show(f"{where} was empty and has schema {done.after} now.")
    else:
        show(f"{where} had schema {done.before} and has {done.after} now.")


async def _migrate(url: str, *, allow_data_loss: bool) -> Migration:
    from llmgateway_server.storage import open_store

    store = await open_store(url, allow_data_loss=allow_data_loss)
    await store.close()
    return store.migration
