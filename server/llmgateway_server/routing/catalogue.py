"""The catalogue in memory: what a call needs to know, read without a wait and swapped whole when something changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway.v1.routing_service_pb2 import Route, UseCase
from llmgateway_server.ports.provider import Credential, Endpoint

CredentialSource = Callable[[str], Credential]
"""Finds the secret that a reference such as `env:NAME` stands for; raises `LookupError` with what is missing."""


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment, ready to be called."""

    deployment: Deployment
    model: Model | None
    endpoint: Endpoint | None
    problem: str = ""
    """Why it cannot be called although it is not disabled. Empty when it can."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the catalogue. Nothing in it changes; a change makes another one."""

    tenants: Mapping[str, Tenant] = field(default_factory=dict[str, Tenant])
    keys: Mapping[str, ApiKey] = field(default_factory=dict[str, ApiKey])
    providers: Mapping[str, Provider] = field(default_factory=dict[str, Provider])
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    routes: Mapping[str, Route] = field(default_factory=dict[str, Route])
    use_cases: Mapping[str, UseCase] = field(default_factory=dict[str, UseCase])
    key_hashes: Mapping[bytes, str] = field(default_factory=dict[bytes, str])
    """Hash of a secret, current or of the last rotation, to the name of its key."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """`models/{alias}` to `models/{model}`."""
    served: Mapping[str, Served] = field(default_factory=dict[str, Served])
    """By deployment."""
    by_model: Mapping[str, tuple[Served, ...]] = field(default_factory=dict[str, "tuple[Served, ...]"])

    def model_name(self, name: str) -> str:
        """The model's own name for a name or an alias."""
        return self.aliases.get(name, name)


_FIELDS: dict[type[Message], str] = {
    Tenant: "tenants",
    ApiKey: "keys",
    Provider: "providers",
    Model: "models",
    Deployment: "deployments",
    Route: "routes",
    UseCase: "use_cases",
}


class Catalogue:
    """Holds the current snapshot and follows changes. Used by one event loop."""

    def __init__(self, credential_source: CredentialSource) -> None:
        self._credential_source = credential_source
        self.snapshot = Snapshot()
        self.version = 0
        """Grows with every change."""

    def load(self, resources: Iterable[Message]) -> None:
        """Replaces everything by these resources."""
        self.version += 1
        kinds: dict[str, dict[str, Message]] = {name: {} for name in _FIELDS.values()}
        for resource in resources:
            kinds[_FIELDS[type(resource)]][resource.name] = resource  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self.snapshot = self._derive(
            Snapshot(**cast("dict[str, Any]", kinds)), set(kinds)
        )  # Each kind lands in the field of its type.

    def apply(self, kind: type[Message], name: str, resource: Message | None) -> None:
        """Takes in one change; None means that the resource is gone."""
        field_name = _FIELDS.get(kind)
        if field_name is None:
            return
        self.version += 1
        resources: dict[str, Message] = dict(getattr(self.snapshot, field_name))
        if resource is None:
            resources.pop(name, None)
        else:
            resources[name] = resource
        changed = replace(self.snapshot, **cast("dict[str, Any]", {field_name: resources}))
        self.snapshot = self._derive(changed, {field_name})

    def _derive(self, snapshot: Snapshot, changed: set[str]) -> Snapshot:
        """Brings what follows from the resources up to date with those that changed."""
        if "keys" in changed:
            snapshot = replace(snapshot, key_hashes=_key_hashes(snapshot.keys.values()))
        if changed & {"providers", "models", "deployments"}:
            served = {
                name: self._serve(snapshot, deployment)
                for name, deployment in sorted(snapshot.deployments.items())
                if not deployment.disabled
            }
            by_model: dict[str, list[Served]] = {}
            for entry in served.values():
                by_model.setdefault(entry.deployment.model, []).append(entry)
            aliases = {f"models/{alias}": model.name for model in snapshot.models.values() for alias in model.aliases}
            snapshot = replace(
                snapshot,
                served=served,
                by_model={name: tuple(entries) for name, entries in by_model.items()},
                aliases=aliases,
            )
        return snapshot

    def _serve(self, snapshot: Snapshot, deployment: Deployment) -> Served:
        model = snapshot.models.get(deployment.model)
        provider = snapshot.providers.get(deployment.provider)
        if provider is None:
            return Served(deployment, model, None, f"{deployment.provider!r} does not exist")
        if model is not None and model.status == Model.STATUS_RETIRED:
            return Served(deployment, model, None, f"{model.name!r} is retired")
        try:
            endpoint = self.endpoint(provider, deployment)
        except LookupError as missing:
            return Served(deployment, model, None, str(missing))
        if model is not None and model.max_output_tokens:
            endpoint = replace(endpoint, max_output_tokens=model.max_output_tokens)
        return Served(deployment, model, endpoint)

    def endpoint(self, provider: Provider, deployment: Deployment) -> Endpoint:
        """Where a deployment of a provider is called; raises `LookupError` when its credential is not to be had."""
        reference = deployment.credential or provider.credential
        return Endpoint(
            deployment=deployment.name,
            provider=provider.name,
            wire_format=provider.wire_format,
            upstream_model=deployment.upstream_model,
            base_url=(deployment.base_url or provider.base_url).rstrip("/"),
            credential=self._credential_source(reference) if reference else Credential(),
            headers={**provider.headers, **deployment.headers},
            vendor=provider.vendor,
            region=deployment.region,
            script=provider.script,
        )

    def unlisted(self, provider: Provider, upstream_model: str) -> Served:
        """A model that a provider serves although the catalogue does not list it."""
        deployment = Deployment(
            name=provider.name,
            provider=provider.name,
            model=f"models/{provider.name.removeprefix('providers/')}/{upstream_model}",
            upstream_model=upstream_model,
        )
        try:
            return Served(deployment, None, self.endpoint(provider, deployment))
        except LookupError as missing:
            return Served(deployment, None, None, str(missing))


def _key_hashes(keys: Iterable[ApiKey]) -> dict[bytes, str]:
    hashes: dict[bytes, str] = {}
    for key in keys:
        hashes[key.secret_hash] = key.name
        if key.previous_secret_hash:
            hashes[key.previous_secret_hash] = key.name
    return hashes
