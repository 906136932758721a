"""What a collection must know of a kind of resource, besides what its descriptor says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from datetime import datetime

    from llmgateway_server.admin.caller import Caller
    from llmgateway_server.ports.storage import UnitOfWork
    from llmgateway_server.ports.system import Ids

R = TypeVar("R", bound=Message)


class ChangeListener(Protocol):
    """Hears of every change once it holds, in the order of the changes. It neither waits nor raises."""

    def __call__(self, kind: type[Message], name: str, resource: Message | None, /) -> None:
        """Takes the resource as it is stored, hidden fields included; None when it was deleted. It may keep it."""
        ...


@dataclass(frozen=True, slots=True)
class Change(Generic[R]):
    """A creation or an update that is about to be kept."""

    resource: R
    """What would be kept. A check does not change it."""
    previous: R | None
    """What there is now. None at a creation."""
    field: str
    """The request's field that holds the resource, with which the paths of errors begin, such as `api_key`."""
    unit: UnitOfWork
    caller: Caller
    now: datetime

    def at(self, path: str) -> str:
        """The path of a field as errors name it: `api_key.scopes` of `scopes`."""
        return f"{self.field}.{path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A field that names another resource. That one must exist, and stays as long as it is named."""

    path: str
    """Such as `targets.deployment`; it may lead through lists."""
    target: type[Message]


async def _accept(change: Change[Any]) -> None:
    """Has nothing against a change."""


def _leave(resource: Message) -> None:
    """Leaves a resource as it is."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """What is special about one kind of resource."""

    message: type[R]
    field: str
    """The request's field that holds the resource, such as `api_key`. Its id's field is `api_key_id`."""
    parent: type[Message] | None = None
    """The kind that resources of this kind belong to."""
    references: tuple[Reference, ...] = ()
    used_by: tuple[tuple[type[Message], str], ...] = ()
    """The kinds and paths that may refer to this kind: the other end of their `references`."""
    children: tuple[type[Message], ...] = ()
    """The kinds that belong to this one. A resource with children is not deleted."""
    hidden: frozenset[str] = frozenset()
    """Fields that are stored and never returned."""
    once: frozenset[str] = frozenset()
    """Fields that are returned by the method that made them and never stored."""
    makes_ids: bool = False
    """Whether the gateway makes an id when the request has none."""
    complete: Callable[[R], None] = _leave
    """Says, at every change, what an empty field means. It runs before the checks, as `prepare` does."""
    prepare: Callable[[R, Ids], None] | None = None
    """Fills in, at a creation, what the gateway makes itself."""
    check: Callable[[Change[R]], Awaitable[None]] = _accept
    """Refuses, with a `GatewayError`, what no descriptor can rule out."""

    @property
    def name(self) -> str:
        """The message's name, such as `ApiKey`: the key of `names.PATTERNS`."""
        return self.message.DESCRIPTOR.name
