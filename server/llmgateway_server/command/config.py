"""`config`: what the gateway is told, and whether it makes sense."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, cast

import typer

from llmgateway_server.command.options import ConfigFile, Json
from llmgateway_server.command.report import Mistake, one_line, show, show_json, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmgateway_server.admin.desired import Wanted
    from llmgateway_server.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")

HIDDEN: Final = "***"
"""What stands where a secret is."""

_SECRETIVE: Final = re.compile(r"key|secret|token|password|authorization|credential", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"(?:env|file):.*", re.DOTALL)


@app.command()
def check(config: ConfigFile = "") -> None:
    """Check the settings and the resources, and name every problem. Exits with 0 or 2.

    Resources are tried on an empty database, in memory: what they refer to must be among them.
    """
    from llmgateway_server.settings import SettingsError, load, settings_file, unknown_variables

    problems: list[str] = []
    try:
        settings = load(config)
    except SettingsError as error:
        problems += str(error).splitlines()
        resources = _resources_in(settings_file())
    else:
        problems += _database_problems(settings)
        resources = settings.resources
    problems += _resource_problems(resources)
    for variable in unknown_variables():
        warn(f"{variable}: there is no such setting")
    for missing in _missing_credentials(resources):
        warn(missing)
    with one_line(Mistake):
        if problems:
            raise Mistake("\n".join(problems))
    count = sum(len(items) for items in resources.values())
    show(f"{settings_file() or 'The configuration'} is fine: the settings, and {count} resource{'s' * (count != 1)}.")


@app.command("show")
def show_config(json: Json = False, config: ConfigFile = "") -> None:
    """Show the settings in force: the file, overridden by the environment. Secrets are left out."""
    from llmgateway_server.settings import SettingsError, load

    with one_line(SettingsError):
        values = visible(load(config))
    if json:
        show_json(values)
    else:
        import yaml

        show(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


def visible(settings: Settings) -> dict[str, Any]:
    """The settings without their secrets. `Any`: a JSON object."""
    values = settings.model_dump(mode="json")
    values["database_url"] = _database(settings)
    values["admin_key"] = HIDDEN if settings.admin_key else None
    values["resources"] = _without_secrets(values["resources"])
    return values


def _database(settings: Settings) -> str:
    from llmgateway_server.storage import DatabaseRefused
    from llmgateway_server.storage.address import parse_address

    try:
        return parse_address(settings.database_url.get_secret_value()).text
    except DatabaseRefused:
        return HIDDEN  # nobody knows where the password is in it


def _without_secrets(value: Any, name: str = "") -> Any:  # noqa: ANN401 - a JSON value
    """A JSON value that has no text which is a secret, by its look or by the name it goes by."""
    from llmgateway_server.telemetry.logs import redact

    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: _without_secrets(member, key) for key, member in members.items()}
    if isinstance(value, list):
        return [_without_secrets(item, name) for item in cast("list[Any]", value)]
    if not isinstance(value, str):
        return value
    if _SECRETIVE.search(name) and not _REFERENCE.fullmatch(value):
        return HIDDEN
    return redact(value)


def _database_problems(settings: Settings) -> list[str]:
    from llmgateway_server.storage import DatabaseRefused
    from llmgateway_server.storage.address import parse_address

    try:
        parse_address(settings.database_url.get_secret_value())
    except DatabaseRefused as error:
        return [f"database_url: {error}"]
    return []


def _resources_in(path: str) -> Wanted:
    """The resources in a settings file whose settings are not to be used; none if they have the wrong shape too."""
    from llmgateway_server.settings import SettingsError, read_file

    try:
        found = read_file(path).get("resources") if path else None
    except SettingsError:
        return {}  # the file is among the problems already
    if not isinstance(found, dict):
        return {}
    collections = cast("dict[Any, Any]", found)
    return {
        str(name): [cast("dict[str, Any]", item) for item in cast("list[Any]", items) if isinstance(item, dict)]
        for name, items in collections.items()
        if isinstance(items, list)
    }


def _resource_problems(resources: Wanted) -> list[str]:
    from llmgateway_server.admin.desired import DesiredError
    from llmgateway_server.command.rehearsal import rehearse

    try:
        asyncio.run(rehearse(resources))
    except DesiredError as error:
        return str(error).splitlines()
    return []


def _missing_credentials(resources: Wanted) -> Iterator[str]:
    """The references to credentials that lead nowhere on this machine."""
    from llmgateway_server.settings import find_credential

    for items in resources.values():
        for item in items:
            reference = item.get("credential")
            if isinstance(reference, str) and _REFERENCE.fullmatch(reference):
                try:
                    find_credential(reference)
                except LookupError as error:
                    yield f"{item.get('name')}: {error.args[0]}"
