"""What a change leaves behind: the version that is stored, and the event that tells of it."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

from llmgateway.v1.admin_resources_pb2 import AuditEvent
from llmgateway_server.names import child_name
from llmgateway_server.resources import resource_view

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from google.protobuf.message import Message

    from llmgateway_server.admin.caller import Caller

_BOOKKEEPING: Final = frozenset({"name", "create_time", "update_time", "etag"})


def stamp(resource: Message, now: datetime) -> None:
    """Sets the update time and the etag of a version that is about to be stored, and the create time of a first one.

    The etag is 22 characters that change with any field, the times included.
    """
    view = resource_view(resource)
    if not resource.HasField("create_time"):
        view.create_time.FromDatetime(now)
    view.update_time.FromDatetime(now)
    resource.ClearField("etag")
    digest = hashlib.sha256(resource.SerializeToString(deterministic=True)).digest()
    view.etag = base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def audit_event(
    action: str, resource: str, *, caller: Caller, changed: Iterable[str], event_id: str, now: datetime
) -> AuditEvent:
    """The event of a change. It names the fields that changed and holds none of their values."""
    event = AuditEvent(
        name=child_name("AuditEvent", caller.audit_tenant(resource), event_id),
        actor=caller.name,
        action=action,
        resource=resource,
        changed_fields=[path for path in changed if path not in _BOOKKEEPING],
        request_id=caller.request_id,
    )
    event.create_time.FromDatetime(now)
    return event
