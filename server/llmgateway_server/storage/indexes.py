"""The fields by which resources are looked up: their values are kept in a table of their own.

An index changes how fast a filter is and nothing else. To add one, add its path here: the next start fills it in.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, select

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway.v1.model_service_pb2 import Deployment, Model
from llmgateway.v1.routing_service_pb2 import Route, UseCase
from llmgateway_server.filters import field_values
from llmgateway_server.resources import resource_view
from llmgateway_server.storage.schema import resource_values, resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message
    from sqlalchemy import ColumnElement

    from llmgateway_server.filters import Filter
    from llmgateway_server.storage.session import Session

INDEXED: Final[Mapping[type[Message], tuple[str, ...]]] = MappingProxyType(
    {
        ApiKey: ("prefix",),
        Deployment: ("model", "provider"),
        Model: ("aliases",),
        Route: ("targets.deployment", "targets.model"),
        UseCase: ("route",),
    }
)
"""The indexed paths of each kind. They hold texts."""


def signature() -> str:
    """What is indexed, as text: two versions of the gateway agree exactly when their signatures do."""
    return " ".join(sorted(f"{kind.DESCRIPTOR.name}.{path}" for kind, paths in INDEXED.items() for path in paths))


def index_rows(resource: Message) -> list[dict[str, str]]:
    """The rows that a resource has in the table of values."""
    kind, name = resource.DESCRIPTOR.name, resource_view(resource).name
    return [
        {"kind": kind, "path": path, "value": value, "name": name}
        for path in INDEXED.get(type(resource), ())
        for value in sorted({value for value in field_values(resource, path) if value})
    ]


def indexed_conditions(kind: type[Message], filter: Filter) -> list[ColumnElement[bool]]:  # noqa: A002 - as in the port
    """What a filter says of indexed fields, for the database to look up. It lets through no less than the filter."""
    found: list[ColumnElement[bool]] = []
    for condition in filter.conditions:
        if condition.exact is not None and condition.path in INDEXED.get(kind, ()):
            row = resource_values.alias()
            same = and_(
                row.c.kind == kind.DESCRIPTOR.name, row.c.path == condition.path, row.c.value == condition.exact
            )
            found.append(exists(select(row.c.name).where(same, row.c.name == resources.c.name)))
    return found


async def rebuild(session: Session) -> None:
    """Fills the table of values from scratch."""
    await session.change(delete(resource_values))
    for kind in INDEXED:
        statement = select(resources.c.message).where(resources.c.kind == kind.DESCRIPTOR.name)
        values: list[Mapping[str, Any]] = []
        for row in await session.rows(statement):
            values += index_rows(kind.FromString(row.message))
        if values:
            await session.change(resource_values.insert(), values)
