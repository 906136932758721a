"""What a resource must be besides what its descriptor says: one check for each kind, and the rules that they share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway.v1.model_service_pb2 import Model
from llmgateway.v1.routing_service_pb2 import Strategy
from llmgateway_server import names
from llmgateway_server.admin.behavior import fields_of
from llmgateway_server.admin.scopes import SCOPES, check_models_granted, check_scopes_granted
from llmgateway_server.errors import NotFound, invalid_field
from llmgateway_server.filters import where
from llmgateway_server.pipeline.validate import check_generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf.message import Message

    from llmgateway.v1.admin_resources_pb2 import Tenant
    from llmgateway.v1.model_service_pb2 import Deployment, Price, Provider
    from llmgateway.v1.routing_service_pb2 import Route, UseCase
    from llmgateway_server.admin.kind import Change

MAX_WEIGHT: Final = 1_000_000
"""Largest weight of a deployment or target."""

MAX_PRICE: Final = 10**15
"""Largest price, in nano-dollars per million tokens: a dollar a token. Costs stay far from what 64 bits hold."""

FAKE: Final = "fake"
"""The wire format whose providers may have a script."""

_CREDENTIAL: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
_OWN_ENVIRONMENT: Final = "env:LLMGATEWAY_"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~]*")
_REFUSED_HEADERS: Final = frozenset(
    {
        # Credentials are kept apart, where nobody reads them back.
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-goog-api-key",
        # These belong to the connection, or say what the gateway itself decides.
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_MODEL_PATTERN: Final = re.compile(r"\*|(?:models|routes|useCases)/[A-Za-z0-9._:/*-]+")
_WORD: Final = re.compile(r"[a-z0-9_]{1,64}")
_RETRIES: Final = {"max_attempts": range(1, 11), "max_retries_per_deployment": range(6)}


async def check_tenant(change: Change[Tenant]) -> None:
    """Refuses patterns of models that match nothing."""
    _check_model_patterns(change.resource.allowed_models, change.at("allowed_models"))


async def check_api_key(change: Change[ApiKey]) -> None:
    """Refuses unknown scopes, an expiry that is over, and a key that may do more than its maker.

    The last is looked at whenever the key may do something new, or has a new secret: who holds the secret can do what
    the key may.
    """
    key, previous = change.resource, change.previous
    for position, scope in enumerate(key.scopes):
        if scope not in SCOPES:
            raise invalid_field(
                change.at(f"scopes[{position}]"), f"{scope!r} is not a scope; use any of {', '.join(SCOPES)}."
            )
    _check_unique(key.scopes, change.at("scopes"))
    _check_model_patterns(key.allowed_models, change.at("allowed_models"))
    expires_anew = previous is None or previous.expire_time != key.expire_time
    if key.HasField("expire_time") and expires_anew and key.expire_time.ToDatetime(change.now.tzinfo) <= change.now:
        raise invalid_field(change.at("expire_time"), "is over; use a time to come, or none.")
    await _check_grant(change)


async def check_model(change: Change[Model]) -> None:
    """Refuses numbers below zero, and names that another model answers to."""
    model = change.resource
    own_id = names.id_of(model.name)
    _check_not_negative(model, ("context_window", "max_output_tokens"), change.at)
    _check_price(model.price, change.at("price"))
    _check_words(model.capabilities, change.at("capabilities"))
    _check_unique(model.aliases, change.at("aliases"))
    for position, alias in enumerate(model.aliases):
        path = change.at(f"aliases[{position}]")
        names.check_id("Model", alias, field=path)
        if alias == own_id:
            raise invalid_field(path, f"{alias!r} is the model's own id; leave it out.")
        if await _answers_to(change, alias):
            raise invalid_field(path, f"{alias!r} is the id or an alias of another model; use another.")
    if change.previous is None:
        for other in await _models_with_alias(change, own_id):
            raise invalid_field("model_id", f"{own_id!r} is an alias of {other.name!r}; use another id.")
    if model.replacement:
        names.parse_name("Model", model.replacement, field=change.at("replacement"))
        if model.replacement == model.name:
            raise invalid_field(change.at("replacement"), "is the model itself; name another.")


async def check_deployment(change: Change[Deployment]) -> None:
    """Refuses addresses, credentials, weights and prices that cannot be."""
    deployment = change.resource
    _check_base_url(deployment.base_url, change.at("base_url"))
    _check_credential(deployment.credential, change.at("credential"))
    _check_headers(deployment.headers, change.at("headers"))
    _check_price(deployment.price, change.at("price"))
    _check_not_negative(deployment, ("max_concurrency",), change.at)
    _check_weight(deployment.weight, change.at("weight"))


async def check_route(change: Change[Route]) -> None:
    """Refuses targets that name nothing, weights that choose nobody, and counts and times out of range."""
    route = change.resource
    for position, target in enumerate(route.targets):
        if target.WhichOneof("kind") is None:
            raise invalid_field(change.at(f"targets[{position}]"), "names nothing; set deployment or model.")
        _check_weight(target.weight, change.at(f"targets[{position}].weight"))
    weights = [target.weight if target.HasField("weight") else 1 for target in route.targets]
    if route.strategy == Strategy.STRATEGY_WEIGHTED and not any(weights):
        raise invalid_field(change.at("targets"), "have no weight at all; give one of them a weight above 0.")
    for name, allowed in _RETRIES.items():
        count = getattr(route.retry_policy, name)
        if route.retry_policy.HasField(name) and count not in allowed:
            path = change.at(f"retry_policy.{name}")
            raise invalid_field(path, f"is {count}; use {allowed.start} to {allowed.stop - 1}.")
    for field, span in route.timeouts.ListFields():
        if span.ToNanoseconds() <= 0:
            raise invalid_field(change.at(f"timeouts.{field.name}"), "is not above 0; use a time, or leave it unset.")


async def check_use_case(change: Change[UseCase]) -> None:
    """Refuses generation settings that no request could have."""
    _check_words(change.resource.required_capabilities, change.at("required_capabilities"))
    check_generation(change.resource.generation, where=change.at("generation"))


def provider_check(
    wire_formats: frozenset[str], accepts: Callable[[Provider], None] | None
) -> Callable[[Change[Provider]], Any]:
    """The check of providers, which depends on the wire formats that there are. `Any`: a coroutine."""

    async def check_provider(change: Change[Provider]) -> None:
        """Refuses wire formats that nobody speaks, and addresses, credentials and scripts that cannot be."""
        provider = change.resource
        if provider.wire_format not in wire_formats:
            known = ", ".join(sorted(wire_formats))
            raise invalid_field(change.at("wire_format"), f"{provider.wire_format!r} is not spoken here; use {known}.")
        _check_base_url(provider.base_url, change.at("base_url"))
        _check_credential(provider.credential, change.at("credential"))
        _check_headers(provider.headers, change.at("headers"))
        _check_script(provider, change.at("script"))
        if accepts:
            accepts(provider)

    return check_provider


async def _check_grant(change: Change[ApiKey]) -> None:
    """Refuses to let the caller make more of a key than he is himself. What the key could do before it still may."""
    key, previous, principal = change.resource, change.previous, change.caller.principal
    if previous is None or previous.secret_hash != key.secret_hash:
        previous = None
    held = set(previous.scopes) if previous else set[str]()
    check_scopes_granted([scope for scope in key.scopes if scope not in held], principal, field=change.at("scopes"))
    if principal.api_key and (previous is None or previous.allowed_models != key.allowed_models):
        own = await change.unit.of(ApiKey).get(principal.api_key)
        check_models_granted(key.allowed_models, own.allowed_models, field=change.at("allowed_models"))


async def _answers_to(change: Change[Model], alias: str) -> bool:
    """Whether another model has an id or an alias."""
    try:
        await change.unit.of(Model).get(names.child_name("Model", "", alias))
    except NotFound:
        return bool(await _models_with_alias(change, alias))
    return True


async def _models_with_alias(change: Change[Model], alias: str) -> list[Model]:
    page = await change.unit.of(Model).page("", "", 2, where(Model, "aliases", alias))
    return [model for model in page.items if model.name != change.resource.name]


def _check_base_url(url: str, path: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        port = parts.port  # reading it is what checks it
    except ValueError as error:
        raise invalid_field(path, "is not a URL; use one such as 'https://api.example.com/v1'.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise invalid_field(path, "has no http or https host; use a URL such as 'https://api.example.com/v1'.")
    if "@" in parts.netloc:
        raise invalid_field(path, "holds user information; keep credentials in 'credential'.")
    if "?" in url or "#" in url:
        raise invalid_field(path, "has a query or a fragment; leave it out.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise invalid_field(path, "has characters that a URL cannot have; encode them.")


def _check_credential(reference: str, path: str) -> None:
    if not reference:
        return
    if _CREDENTIAL.fullmatch(reference) is None:
        # The value is not quoted: it may be the secret itself, put where its reference belongs.
        raise invalid_field(path, "is not a reference to a credential; use 'env:NAME' or 'file:PATH'.")
    if reference.startswith(_OWN_ENVIRONMENT):
        raise invalid_field(path, "refers to a setting of the gateway; use a variable that is made for the provider.")


def _check_headers(headers: Mapping[str, str], path: str) -> None:
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None:
            raise invalid_field(path, f"{name!r} is not the name of a header; use letters, digits and '-'.")
        if name.lower() in _REFUSED_HEADERS:
            raise invalid_field(path, f"{name!r} is not to be set here; credentials go in 'credential'.")
        if _HEADER_VALUE.fullmatch(value) is None:
            raise invalid_field(f"{path}.{name}", "has characters that a header cannot have; use visible ASCII.")


def _check_script(provider: Provider, path: str) -> None:
    if not provider.script:
        return
    if provider.wire_format != FAKE:
        raise invalid_field(path, f"is for providers of wire format {FAKE!r}; leave it out.")
    try:
        orjson.loads(provider.script)
    except orjson.JSONDecodeError as error:
        raise invalid_field(path, f"is not JSON: {error}.") from error


def _check_price(price: Price, path: str) -> None:
    for field in fields_of(price):
        amount = getattr(price, field.name)
        if not 0 <= amount <= MAX_PRICE:
            raise invalid_field(f"{path}.{field.name}", f"is {amount}; use 0 to {MAX_PRICE} nano-dollars.")


def _check_weight(weight: int, path: str) -> None:
    if not 0 <= weight <= MAX_WEIGHT:
        raise invalid_field(path, f"is {weight}; use 0 to {MAX_WEIGHT}.")


def _check_not_negative(resource: Message, fields: Iterable[str], at: Callable[[str], str]) -> None:
    for name in fields:
        value = getattr(resource, name)
        if value < 0:
            raise invalid_field(at(name), f"is {value}; use 0 or more.")


def _check_model_patterns(patterns: Iterable[str], path: str) -> None:
    for position, pattern in enumerate(patterns):
        if _MODEL_PATTERN.fullmatch(pattern) is None:
            raise invalid_field(
                f"{path}[{position}]",
                f"{pattern!r} names no model; use names such as 'models/fake/*' or 'routes/fast'.",
            )


def _check_words(words: Iterable[str], path: str) -> None:
    for position, word in enumerate(words):
        if _WORD.fullmatch(word) is None:
            raise invalid_field(
                f"{path}[{position}]", f"{word!r} is not a word such as 'json_schema'; use a-z, 0-9, _."
            )


def _check_unique(items: Iterable[str], path: str) -> None:
    seen: set[str] = set()
    for position, item in enumerate(items):
        if item in seen:
            raise invalid_field(f"{path}[{position}]", f"{item!r} is there already; name it once.")
        seen.add(item)
