"""Resources that the configuration wants to exist: created where missing, brought up to date where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from llmgateway_server.admin.caller import SYSTEM
from llmgateway_server.admin.collection import Collection
from llmgateway_server.errors import GatewayError, NotFound, invalid_field
from llmgateway_server.resources import resource_view

ORDER = ("tenants", "providers", "models", "deployments", "routes", "use_cases")
"""The collections that a configuration may hold, each after those that its resources refer to."""

Wanted = Mapping[str, Sequence[Mapping[str, Any]]]
"""Resources as proto JSON, by collection. `Any`: a JSON value."""


class DesiredError(Exception):
    """The wanted resources cannot be had. The message lists every problem, one a line."""


async def apply(wanted: Wanted, collections: Mapping[str, Collection[Any]], *, keep_going: bool = False) -> list[str]:
    """Makes the wanted resources exist as written and returns the names of those that changed.

    What is written wrongly is refused before anything changes; what breaks a rule, when its turn comes. With
    `keep_going`, resources after a problem are tried too, so that the error has all that is wrong: for a store that is
    thrown away. `Any`: collections of all kinds.
    """
    problems = [f"resources.{name}: must be one of {', '.join(ORDER)}" for name in wanted if name not in ORDER]
    parsed: list[tuple[str, str, Message]] = []
    for name in ORDER:
        for index, item in enumerate(wanted.get(name, ())):
            where = f"resources.{name}[{index}]"
            try:
                parsed.append((where, name, _parse(collections[name], item)))
            except (json_format.ParseError, GatewayError) as error:
                problems.append(f"{where}: {_first_line(error)}")
    changed: list[str] = []
    for where, name, resource in parsed:
        if problems and not keep_going:
            break
        try:
            if await _ensure(collections[name], resource):
                changed.append(resource_view(resource).name)
        except GatewayError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise DesiredError("\n".join(problems))
    return changed


async def create_missing(name: str, item: Mapping[str, Any], collections: Mapping[str, Collection[Any]]) -> bool:
    """Creates one resource of a collection unless one of its name exists; whether it did. `Any`: a JSON value."""
    resource = _parse(collections[name], item)
    try:
        await collections[name].get(resource_view(resource).name)
    except NotFound:
        await _create(collections[name], resource)
        return True
    return False


async def _create(collection: Collection[Any], resource: Message) -> None:
    _, _, resource_id = resource_view(resource).name.partition("/")
    await collection.create(resource, caller=SYSTEM, resource_id=resource_id)


def _parse(collection: Collection[Any], item: Mapping[str, Any]) -> Message:
    resource = collection.kind.message()
    json_format.ParseDict(dict(item), resource)
    if not resource_view(resource).name:
        raise invalid_field("name", "is required, such as 'providers/openai'.")
    return resource


def _first_line(error: Exception) -> str:
    """The first line of a message: the parser's others list every field there is."""
    return str(error).partition("\n")[0]


async def _ensure(collection: Collection[Any], resource: Message) -> bool:
    """Creates or updates; whether anything changed."""
    view = resource_view(resource)
    try:
        current = await collection.get(view.name)
    except NotFound:
        await _create(collection, resource)
        return True
    before = resource_view(current).etag
    after = await collection.update(resource, caller=SYSTEM, mask=("*",))
    return resource_view(after).etag != before
