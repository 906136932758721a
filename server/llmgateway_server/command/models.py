"""`models`: what the gateway can be asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from llmgateway_server.command.options import ConfigFile, Json
from llmgateway_server.command.report import dollars, one_line, show_json, show_table

if TYPE_CHECKING:
    from llmgateway.v1.model_service_pb2 import Model
    from llmgateway_server.command.database import Database
    from llmgateway_server.settings import Settings

app = typer.Typer(no_args_is_help=True, help="See which models there are.")


@app.callback()
def models() -> None:
    """Keeps `list` a command of a group, though it is the only one."""


@app.command("list")
def list_models(json: Json = False, config: ConfigFile = "") -> None:
    """List the models by name.

    It reads the configured database: no gateway needs to run, and no key is needed.
    """
    from llmgateway_server.admin.desired import DesiredError
    from llmgateway_server.errors import GatewayError
    from llmgateway_server.settings import SettingsError, load
    from llmgateway_server.storage import DatabaseRefused

    with one_line(SettingsError, DatabaseRefused, DesiredError, GatewayError):
        found = _models(load(config))
        if json:
            show_json([as_json(model) for model in found])
        else:
            show_table(("MODEL", "NAME", "OWNER", "STATUS", "WINDOW", "$/M IN", "$/M OUT", "ALIASES"), map(_row, found))


def _models(settings: Settings) -> list[Model]:
    """The models in the database; where no gateway has started yet, those that the first start would make."""
    from llmgateway_server.command.database import exists, opened

    if exists(settings):
        with opened(settings) as database:
            found = database.wait(_read(database))
        if found is not None:
            return found

    from llmgateway_server.command.rehearsal import rehearse

    return asyncio.run(rehearse(settings.resources))


async def _read(database: Database) -> list[Model] | None:
    """The models, or None in a database that no gateway has started on."""
    from llmgateway.v1.admin_resources_pb2 import Tenant
    from llmgateway.v1.model_service_pb2 import Model
    from llmgateway_server.filters import EVERYTHING

    async with database.store.reading() as moment:
        if not (await moment.of(Tenant).page("", "", 1, EVERYTHING)).items:
            return None
        return [model async for model in moment.of(Model).all("")]


def as_json(model: Model) -> dict[str, Any]:
    """A model for other programs: null is what is not known. `Any`: a JSON object.

    Prices are whole nano-dollars per million tokens, by the class of tokens.
    """
    return {
        "id": _id(model),
        "name": model.name,
        "display_name": model.display_name,
        "description": model.description,
        "owner": model.owner,
        "status": _status(model),
        "capabilities": list(model.capabilities),
        "context_window": model.context_window or None,
        "max_output_tokens": model.max_output_tokens or None,
        "price": {field.name: value for field, value in model.price.ListFields()} or None,
        "aliases": list(model.aliases),
        "replacement": model.replacement or None,
        "labels": dict(model.labels),
    }


def _row(model: Model) -> tuple[str, ...]:
    price = model.price
    return (
        _id(model),
        model.display_name,
        model.owner,
        _status(model),
        str(model.context_window or ""),
        dollars(price.input) if price.HasField("input") else "",
        dollars(price.output) if price.HasField("output") else "",
        " ".join(model.aliases),
    )


def _id(model: Model) -> str:
    """What callers name the model by."""
    return model.name.removeprefix("models/")


def _status(model: Model) -> str:
    """Such as `active`, which a model is when nobody says otherwise."""
    name = type(model).Status.Name(model.status).removeprefix("STATUS_").lower()
    return "active" if name == "unspecified" else name
