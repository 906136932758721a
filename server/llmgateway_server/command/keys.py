"""`keys`: who may call the gateway."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmgateway_server.command.options import ApiKey, ConfigFile, Json, Plaintext
from llmgateway_server.command.report import Mistake, one_line, show, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from llmgateway.v1 import admin_resources_pb2 as pb
    from llmgateway_server.command.keyring import Keyring

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list and revoke API keys.\n\nIn the configured database, or with --address through a running gateway.",
)

Tenant = Annotated[str, typer.Option(metavar="ID", help="The tenant that the key belongs to.", show_default=True)]
Address = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Work through the gateway there, with a key that has admin scopes.")
]


@app.command()
def create(  # noqa: PLR0917 - typer names the arguments
    tenant: Tenant = "default",
    name: Annotated[str, typer.Option(metavar="TEXT", help="What people call the key.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="What the key may do; repeat for more.  [default: chat, models:read]"),
    ] = None,
    expires_in: Annotated[str, typer.Option(metavar="SPAN", help="How long it works, such as 12h or 30d.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Write the secret and nothing else.")] = False,
    json: Json = False,
    address: Address = "",
    api_key: ApiKey = "",
    plaintext: Plaintext = False,
    config: ConfigFile = "",
) -> None:
    """Make a key and show its secret, this once."""
    with _keyring(address, api_key, plaintext, config) as keyring:
        key = keyring.create_key(f"tenants/{tenant}", _draft(name, scope or (), expires_in))
        if json:
            show_json({**as_json(key, _now()), "secret": key.secret})
        elif quiet:
            show(key.secret)
        else:
            show(f"Made {key.name} in {keyring.where}. Its secret, shown this once:\n\n  {key.secret}\n")
            show(f"It may {', '.join(_scopes(key))}, and works until {_expiry(key) or 'it is revoked'}.")


@app.command("list")
def list_keys(
    tenant: Tenant = "default",
    json: Json = False,
    address: Address = "",
    api_key: ApiKey = "",
    plaintext: Plaintext = False,
    config: ConfigFile = "",
) -> None:
    """List the keys of a tenant, without their secrets. The tenant - stands for all."""
    with _keyring(address, api_key, plaintext, config) as keyring:
        keys = keyring.list_keys(f"tenants/{tenant}")
        now = _now()
        if json:
            show_json([as_json(key, now) for key in keys])
        else:
            rows = [
                (key.name, key.display_name, key.prefix, _state(key, now), _expiry(key), " ".join(_scopes(key)))
                for key in keys
            ]
            show_table(("KEY", "NAME", "PREFIX", "STATE", "EXPIRES", "SCOPES"), rows)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, id, prefix, or what people call it.")],
    tenant: Tenant = "default",
    address: Address = "",
    api_key: ApiKey = "",
    plaintext: Plaintext = False,
    config: ConfigFile = "",
) -> None:
    """Delete a key, so that nobody can call with it."""
    with _keyring(address, api_key, plaintext, config) as keyring:
        from llmgateway_server.command.keyring import find_key

        name = key if key.startswith("tenants/") else find_key(keyring.list_keys(f"tenants/{tenant}"), key)
        keyring.delete_key(name)
        effect = "It no longer works." if address else "A running gateway stops taking it within two seconds."
        show(f"Revoked {name} in {keyring.where}. {effect}")


def as_json(key: pb.ApiKey, now: datetime) -> dict[str, Any]:
    """A key for other programs, without its secret. `Any`: a JSON object."""
    return {
        "id": key.name.rpartition("/")[2],
        "name": key.name,
        "tenant": "/".join(key.name.split("/")[:2]),
        "display_name": key.display_name,
        "prefix": key.prefix,
        "state": _state(key, now),
        "scopes": _scopes(key),
        "allowed_models": list(key.allowed_models),
        "create_time": key.create_time.ToJsonString(),
        "expire_time": _expiry(key) or None,
    }


@contextmanager
def _keyring(address: str, api_key: str, plaintext: bool, config: str) -> Generator[Keyring]:
    """The keys to work on. What goes wrong in the body is reported, and ends the command."""
    from llmgateway_server.errors import GatewayError

    if address:
        from llmgateway_server.command.gateway import connected

        with one_line(Mistake, GatewayError), connected(address, api_key, plaintext=plaintext) as gateway:
            yield gateway
    else:
        from llmgateway_server.command.database import REFUSALS, opened
        from llmgateway_server.command.keyring import DatabaseKeyring
        from llmgateway_server.settings import SettingsError, load

        with one_line(SettingsError, GatewayError, *REFUSALS), opened(load(config)) as database:
            yield DatabaseKeyring(database)


def _draft(name: str, scopes: list[str] | tuple[()], expires_in: str) -> pb.ApiKey:
    from llmgateway.v1.admin_resources_pb2 import ApiKey as Message
    from llmgateway_server.command.keyring import parse_lifetime

    key = Message(display_name=name, scopes=scopes)
    if expires_in:
        key.expire_time.FromDatetime(_now().replace(microsecond=0) + parse_lifetime(expires_in))
    return key


def _now() -> datetime:
    from llmgateway_server.system import SystemClock

    return SystemClock().now()


def _scopes(key: pb.ApiKey) -> list[str]:
    from llmgateway_server.admin.scopes import DEFAULT_SCOPES

    return list(key.scopes or DEFAULT_SCOPES)


def _state(key: pb.ApiKey, now: datetime) -> str:
    if key.disabled:
        return "disabled"
    expired = key.HasField("expire_time") and key.expire_time.ToDatetime(now.tzinfo) <= now
    return "expired" if expired else "active"


def _expiry(key: pb.ApiKey) -> str:
    return key.expire_time.ToJsonString() if key.HasField("expire_time") else ""
