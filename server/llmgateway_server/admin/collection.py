"""The five standard methods, for any kind of resource: what the descriptors and the kind's table row say, applied.

A change runs in one unit of work: the request id is looked up, the resource is checked and kept, the audit event is
written, and once all of it holds the listener hears of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from google.protobuf.message import Message

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server import names
from llmgateway_server.admin.behavior import changed_paths, clear_outputs, freeze, require, walk
from llmgateway_server.admin.kind import Change
from llmgateway_server.admin.limits import check_limits
from llmgateway_server.admin.listing import bounded_size
from llmgateway_server.admin.masks import merge
from llmgateway_server.admin.versions import audit_event, stamp
from llmgateway_server.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound, invalid_field
from llmgateway_server.filters import EVERYTHING, parse_filter, where
from llmgateway_server.ports.storage import CreateRequest, Page
from llmgateway_server.resources import resource_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from llmgateway_server.admin.caller import Caller
    from llmgateway_server.admin.kind import ChangeListener, Kind
    from llmgateway_server.ports.storage import Store, UnitOfWork
    from llmgateway_server.ports.system import Clock, Ids

R = TypeVar("R", bound=Message)

MAX_REQUEST_ID: Final = 128
"""Most characters of the id of a create request."""

_SHOWN_USERS: Final = 5
"""How many of the resources that still refer to one are named."""


class Collection(Generic[R]):
    """All resources of one kind. It keeps no state of its own, and may be used from many tasks at a time.

    Whether the caller may call the method and reach the tenant was decided before. What is passed in is not changed;
    what is returned is the caller's own, and lacks the kind's hidden fields.
    """

    def __init__(self, kind: Kind[R], store: Store, *, clock: Clock, ids: Ids, on_change: ChangeListener) -> None:
        self.kind = kind
        self._store = store
        self._clock = clock
        self._ids = ids
        self._on_change = on_change

    async def create(
        self, resource: R, *, caller: Caller, parent: str = "", resource_id: str = "", request_id: str = ""
    ) -> R:
        """Keeps a new resource and returns it, with what is shown once. Its `name` is ignored.

        A repeat with the same `request_id` within a day returns what the first one created, as it is now, without what
        was shown once. The same `request_id` with another body is `RESOURCE_EXISTS`.
        """
        kind = self.kind
        names.check_parent(kind.name, parent)
        if resource_id or not kind.makes_ids:
            names.check_id(kind.name, resource_id, field=f"{kind.field}_id")
        draft = self._own_fields(resource)
        self._check_content(draft)
        name = names.child_name(kind.name, parent, resource_id or self._ids.new())
        request = self._create_request(draft, name, resource_id, request_id, caller)
        async with self._store.writing() as unit:
            if earlier := await unit.create_requests.find(request.scope, request_id) if request_id else None:
                return self._without(await self._repeated(unit, earlier, request), kind.hidden)
            if kind.parent:
                await unit.of(kind.parent).get(parent)
            now = self._clock.now()
            resource_view(draft).name = name
            kind.complete(draft)
            if kind.prepare:
                kind.prepare(draft, self._ids)
            await self._check_change(Change(draft, None, kind.field, unit, caller, now))
            stored = self._stamped(draft, now)
            await unit.of(kind.message).add(stored)
            if request_id:
                await unit.create_requests.add(request, now)
            paths = changed_paths(kind.message(), stored)
            await self._keep(unit, name, stored, action="create", caller=caller, changed=paths)
        return self._answer(stored, draft)

    async def get(self, name: str) -> R:
        """The resource of that name, or `RESOURCE_NOT_FOUND`."""
        names.parse_name(self.kind.name, name)
        async with self._store.reading() as moment:
            return self._without(await moment.of(self.kind.message).get(name), self.kind.hidden)

    async def list(
        self,
        *,
        parent: str = "",
        page_size: int = 0,
        page_token: str = "",
        filter: str = "",  # noqa: A002 - as in the API
    ) -> Page[R]:
        """A page of the resources under a parent, by name; under `tenants/-`, those of all tenants.

        Errors are `INVALID_FIELD` for `parent`, `page_size`, `page_token` or `filter`.
        """
        kind = self.kind
        names.check_parent(kind.name, parent, wildcard=True)
        size = bounded_size(page_size)
        conditions = parse_filter(filter, kind.message, hidden=kind.hidden | kind.once)
        async with self._store.reading() as moment:
            page = await moment.of(kind.message).page(parent, page_token, size, conditions)
        return Page([self._without(item, kind.hidden) for item in page.items], page.next_token)

    async def update(self, resource: R, *, caller: Caller, mask: Sequence[str] = ()) -> R:
        """Changes the fields that the mask names, and returns the resource.

        A non-empty `etag` must be the present one, or the answer is `ETAG_MISMATCH`. Where nothing differs, nothing
        happens.
        """
        name, etag = resource_view(resource).name, resource_view(resource).etag
        names.parse_name(self.kind.name, name, field=f"{self.kind.field}.name")
        wanted = self._own_fields(resource)

        def merged(current: R) -> R:
            _match_etag(current, etag)
            return merge(current, wanted, mask)

        return await self.change(name, merged, caller=caller, action="update")

    async def change(self, name: str, changed: Callable[[R], R], *, caller: Caller, action: str) -> R:
        """Puts what `changed` makes of a resource in its place, under the rules of `update`, and returns it.

        `changed` gets the resource as it is stored; it returns another message, which may have fields shown once.
        """
        kind = self.kind
        async with self._store.writing() as unit:
            current = await unit.of(kind.message).get(name)
            draft = changed(current)
            kind.complete(draft)
            freeze(current, draft, kind.field)
            self._check_content(draft)
            paths = [path for path in changed_paths(current, draft) if path not in kind.once]
            if not paths:
                return self._without(current, kind.hidden)
            now = self._clock.now()
            await self._check_change(Change(draft, current, kind.field, unit, caller, now))
            stored = self._stamped(draft, now)
            await unit.of(kind.message).replace(stored, resource_view(current).etag)
            await self._keep(unit, name, stored, action=action, caller=caller, changed=paths)
        return self._answer(stored, draft)

    async def delete(self, name: str, *, caller: Caller, etag: str = "") -> None:
        """Removes a resource that nothing refers to, or raises `RESOURCE_IN_USE`."""
        kind = self.kind
        names.parse_name(kind.name, name)
        async with self._store.writing() as unit:
            current = await unit.of(kind.message).get(name)
            _match_etag(current, etag)
            await self._check_unused(unit, name)
            await unit.of(kind.message).remove(name, resource_view(current).etag)
            await self._keep(unit, name, None, action="delete", caller=caller, changed=())

    def _own_fields(self, resource: R) -> R:
        """A copy that has what callers may set and nothing else."""
        own = self.kind.message()
        own.CopyFrom(resource)
        own.DiscardUnknownFields()
        clear_outputs(own)
        return own

    def _check_content(self, resource: R) -> None:
        require(resource, self.kind.field)
        check_limits(resource, self.kind.field)

    async def _check_change(self, change: Change[R]) -> None:
        """Refuses references to what is not there, and whatever the kind has against the change."""
        targets = {reference.path: reference.target for reference in self.kind.references}
        for found in walk(change.resource, change.field):
            if target := targets.get(found.plain):
                names.parse_name(target.DESCRIPTOR.name, found.value, field=found.path)
                try:
                    await change.unit.of(target).get(found.value)
                except NotFound as error:
                    raise invalid_field(found.path, f"{found.value!r} does not exist; create it first.") from error
        await self.kind.check(change)

    async def _check_unused(self, unit: UnitOfWork, name: str) -> None:
        users: list[Message] = []
        for child in self.kind.children:
            users += (await unit.of(child).page(name, "", _SHOWN_USERS, EVERYTHING)).items
        for user, path in self.kind.used_by:
            parent = names.ANY_TENANT if names.PATTERNS[user.DESCRIPTOR.name].collections[1:] else ""
            users += (await unit.of(user).page(parent, "", _SHOWN_USERS, where(user, path, name))).items
        if users:
            used_by = ", ".join(resource_view(user).name for user in users[:_SHOWN_USERS])
            raise FailedPrecondition(
                ErrorReason.ERROR_REASON_RESOURCE_IN_USE,
                f"{name!r} is still used by {used_by}; change or delete what uses it first.",
                metadata={"resource": name, "used_by": used_by},
            )

    def _create_request(self, draft: R, name: str, resource_id: str, request_id: str, caller: Caller) -> CreateRequest:
        """What is kept of a creation so that its repeat is recognised: of the same caller, asking for the same."""
        if len(request_id) > MAX_REQUEST_ID or not request_id.isprintable():
            raise invalid_field("request_id", f"use at most {MAX_REQUEST_ID} characters, all printable.")
        scope = f"{self.kind.name} {names.parent_of(name)} {caller.name}"
        digest = hashlib.sha256(resource_id.encode() + b"\0" + draft.SerializeToString(deterministic=True)).digest()
        return CreateRequest(scope, request_id, digest, name)

    async def _repeated(self, unit: UnitOfWork, earlier: CreateRequest, request: CreateRequest) -> R:
        """What an earlier request with the same id created."""
        if earlier.digest != request.digest:
            raise AlreadyExists(
                ErrorReason.ERROR_REASON_RESOURCE_EXISTS,
                f"request_id {request.request_id!r} created {earlier.name!r} from another body; use a new one.",
                field="request_id",
                metadata={"resource": earlier.name},
            )
        return await unit.of(self.kind.message).get(earlier.name)

    def _stamped(self, draft: R, now: datetime) -> R:
        """What is stored of a draft: with its times and etag, without what is shown once."""
        stored = self._without(draft, self.kind.once)
        stamp(stored, now)
        return stored

    def _answer(self, stored: R, draft: R) -> R:
        """What the method that made a version returns: what it stored, less what is hidden, and what is shown once."""
        answer = self._without(stored, self.kind.hidden)
        for field in self.kind.once:
            setattr(answer, field, getattr(draft, field))
        return answer

    def _without(self, resource: R, fields: frozenset[str]) -> R:
        copy = self.kind.message()
        copy.CopyFrom(resource)
        for field in fields:
            copy.ClearField(field)
        return copy

    async def _keep(
        self, unit: UnitOfWork, name: str, stored: R | None, *, action: str, caller: Caller, changed: Sequence[str]
    ) -> None:
        """Writes the audit event, commits, and lets the listener know."""
        event = audit_event(
            action, name, caller=caller, changed=changed, event_id=self._ids.new(), now=self._clock.now()
        )
        await unit.audit(event)
        unit.after_commit(lambda: self._on_change(self.kind.message, name, stored))
        await unit.commit()


def _match_etag(current: Message, etag: str) -> None:
    view = resource_view(current)
    if etag and etag != view.etag:
        raise Aborted(
            ErrorReason.ERROR_REASON_ETAG_MISMATCH,
            f"{view.name!r} changed since it was read; read it again and repeat the change.",
            metadata={"resource": view.name},
        )
