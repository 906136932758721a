"""The settings of the process: one YAML file, overridden by the environment, checked whole before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from yaml.composer import ComposerError

CONFIG_VARIABLE = "LLMGATEWAY_CONFIG"
PREFIX = "LLMGATEWAY_"
_FOR_CLIENTS = (PREFIX + "API_KEY",)

_ADMIN_KEY = re.compile(r"lgw_[!-~]{28,508}")

MEBIBYTE = 1024 * 1024
_MAX_PORT = 65_535


class SettingsError(Exception):
    """The settings cannot be used. The message lists every problem, one a line, and no secret."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Limits(_Section):
    """How much of what the gateway takes."""

    rest_body_bytes: int = Field(32 * MEBIBYTE, ge=64 * 1024, le=256 * MEBIBYTE)
    """Largest body of a REST request, in bytes. Larger ones are answered with 413."""

    message_bytes: int = Field(64 * MEBIBYTE, ge=64 * 1024, le=512 * MEBIBYTE)
    """Largest gRPC message, in bytes. Larger than REST's limit, because a message may outgrow the JSON it came from."""

    metadata_bytes: int = Field(16 * 1024, ge=4 * 1024, le=64 * 1024)
    """Most metadata or headers of a request, in bytes."""

    streams_per_connection: int = Field(1024, ge=1, le=100_000)
    """Most calls at a time on one connection."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Limits:
        if self.message_bytes < self.rest_body_bytes:
            raise ValueError("message_bytes must not be less than rest_body_bytes, which it has to carry")
        return self


class Timeouts(_Section):
    """How long things may take, in seconds."""

    request_default: float = Field(600.0, gt=0, le=86_400)
    """A call whose caller sets no deadline."""

    request_max: float = Field(3_600.0, gt=0, le=86_400)
    """Any call, whatever deadline its caller sets."""

    connect: float = Field(5.0, gt=0, le=600)
    """Until the connection to a provider stands."""

    first_event: float = Field(30.0, gt=0, le=3_600)
    """Until a provider's answer begins."""

    idle: float = Field(30.0, gt=0, le=3_600)
    """Between two pieces of a provider's answer that carry content."""

    total: float = Field(600.0, gt=0, le=86_400)
    """Until a provider's answer is whole."""


class Shutdown(_Section):
    """How the gateway stops, in seconds."""

    delay: float = Field(0.0, ge=0, le=600)
    """Between saying that it stops and refusing new calls, so that a balancer notices first."""

    grace: float = Field(30.0, ge=0, le=3_600)
    """How long calls under way may take to end."""


class Logging(_Section):
    """What the gateway writes of itself, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important messages that are written."""

    format: Literal["auto", "text", "json"] = "auto"
    """`auto` is text on a terminal and JSON elsewhere."""


class Keepalive(_Section):
    """How dead connections are noticed, in seconds."""

    interval: float = Field(30.0, ge=1, le=7_200)
    """How often a silent connection is asked whether it lives."""

    timeout: float = Field(10.0, ge=1, le=600)
    """How long the answer may take."""

    max_age: float = Field(1_800.0, ge=10, le=86_400)
    """How old a connection gets before its client is told to open another one, so that new replicas get traffic."""

    max_age_grace: float = Field(3_600.0, ge=1, le=86_400)
    """How long calls on an old connection may take to end."""


class Settings(BaseSettings):
    """Everything that belongs to the process. What belongs to the service is a resource and lives in the database."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    grpc_address: str = "127.0.0.1:50051"
    """Where gRPC is served."""

    rest_address: str = "127.0.0.1:8080"
    """Where Envoy serves REST, gRPC and gRPC-Web."""

    edge: bool = True
    """Whether Envoy is started beside the server."""

    database_url: SecretStr = SecretStr("sqlite:///llm-gateway.db")
    """Where resources and records are kept: a SQLAlchemy URL of SQLite or PostgreSQL."""

    admin_key: SecretStr | None = None
    """The first admin key: 32 or more characters that begin with `lgw_`. Without it one is made and shown once."""

    admin_grpc_address: str = "127.0.0.1:50052"
    """Where Admin and reflection are served by gRPC, when a public address is not loopback."""

    admin_rest_address: str = "127.0.0.1:8081"
    """Where Envoy serves Admin and reflection, when a public address is not loopback."""

    allow_public_admin: bool = False
    """Whether the addresses of Admin may be other than loopback."""

    limits: Limits = Limits()  # pyright: ignore[reportCallIssue] - the defaults are in the fields
    timeouts: Timeouts = Timeouts()  # pyright: ignore[reportCallIssue]
    keepalive: Keepalive = Keepalive()  # pyright: ignore[reportCallIssue]
    shutdown: Shutdown = Shutdown()  # pyright: ignore[reportCallIssue]
    logging: Logging = Logging()

    resources: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    """Resources to create or bring up to date at start, by collection, such as `providers`. `Any`: proto JSON."""

    @field_validator("grpc_address", "rest_address", "admin_grpc_address", "admin_rest_address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 <= int(port) <= _MAX_PORT:
            raise ValueError("must be HOST:PORT, such as '127.0.0.1:8080'")
        return value

    @field_validator("admin_key")
    @classmethod
    def _check_admin_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _ADMIN_KEY.fullmatch(value.get_secret_value()) is None:
            raise ValueError("must be 32 to 512 visible ASCII characters that begin with 'lgw_'")
        return value

    @model_validator(mode="after")
    def _check_exposure(self) -> Settings:
        if not self.separate_admin or self.allow_public_admin:
            return self
        for address in (self.admin_grpc_address, self.admin_rest_address):
            if not is_loopback(address):
                raise ValueError(
                    f"{address!r} would open Admin and reflection to the network; use 127.0.0.1, "
                    "or set allow_public_admin to true if something else keeps others out"
                )
        return self

    @property
    def separate_admin(self) -> bool:
        """Whether Admin and reflection are served apart: as soon as a public address is not loopback."""
        return not (is_loopback(self.grpc_address) and is_loopback(self.rest_address))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, which wins over the file."""
        sources = [init_settings, env_settings]
        path = settings_file()
        if path:
            sources.append(InitSettingsSource(settings_cls, init_kwargs=read_file(path)))
        return tuple(sources)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address. A name other than `localhost` may stand for anything."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(file: str = "", **overrides: Any) -> Settings:  # noqa: ANN401 - fields of any type
    """Reads the settings; raises `SettingsError` with every problem. `Any`: values of any field.

    `file` takes the place of the one that the environment names, from here on and for child processes too.
    """
    if file:
        os.environ[CONFIG_VARIABLE] = file
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(step) for step in item['loc']) or 'settings'}: {_problem(item['type'], item['msg'])}"
            for item in error.errors()
        ]
        raise SettingsError("\n".join(problems)) from None
    except ValueError as error:
        raise SettingsError(str(error)) from error


def settings_file() -> str:
    """The path of the settings file; empty where there is none."""
    return os.environ.get(CONFIG_VARIABLE, "")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses what is written twice instead of dropping the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        """As the base does, and then a look at the keys. `Any`: the name of an anchor, or none."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise ComposerError(None, None, f"{key.value!r} is there already; write it once", key.start_mark)
            seen.add(key.value)
        return node


_MERGE = "tag:yaml.org,2002:merge"


def read_file(path: str) -> dict[str, Any]:
    """What a settings file says, unchecked; raises `SettingsError` when it cannot be read. `Any`: YAML values."""
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{path!r}{line} is not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path!r} is not YAML in UTF-8") from error
    except RecursionError:
        raise SettingsError(f"{path!r} is nested too deep") from None
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path!r}: {error.strerror}") from error
    if not isinstance(content, dict | None):
        raise SettingsError(f"{path!r} must have settings by name, such as 'grpc_address: 127.0.0.1:50051'")
    return {str(name): value for name, value in cast("dict[Any, Any]", content or {}).items()}


def _problem(kind: str, message: str) -> str:
    """One of pydantic's messages in words for an operator."""
    return "there is no such setting" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


def unknown_variables() -> list[str]:
    """Variables with the gateway's prefix that no setting has: probably spelling mistakes."""
    known = {CONFIG_VARIABLE, *_FOR_CLIENTS, *(PREFIX + name.upper() for name in Settings.model_fields)}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name.partition("__")[0] not in known)


def find_credential(reference: str) -> str:
    """The secret that `env:NAME` or `file:PATH` stands for; raises `LookupError` with what is missing."""
    scheme, _, value = reference.partition(":")
    if scheme == "env":
        secret = os.environ.get(value, "").strip()
        if not secret:
            raise LookupError(f"the environment variable {value!r} is not set")
        return secret
    if scheme == "file":
        try:
            secret = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise LookupError(f"the credential file {value!r} cannot be read as text") from error
        if not secret:
            raise LookupError(f"the credential file {value!r} is empty")
        return secret
    raise LookupError("the credential is neither env:NAME nor file:PATH")  # It may be the secret itself, so not quoted.


def provider_variables(usual: Mapping[str, str]) -> dict[str, str]:
    """Those of the usual variables of provider keys that the environment has: provider id to variable."""
    return {provider: name for provider, name in usual.items() if os.environ.get(name)}
