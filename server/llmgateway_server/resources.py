"""The fields that all resources have, whatever their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp


class Record(Protocol):
    """A message that has a name and a time, such as an audit event."""

    name: str

    @property
    def create_time(self) -> Timestamp:
        """When it was made."""
        ...


class Resource(Record, Protocol):
    """A message that also changes, such as a provider."""

    etag: str

    @property
    def update_time(self) -> Timestamp:
        """When it last changed."""
        ...


def record_view(message: Message) -> Record:
    """A message by the fields that all records have. What is written shows in the message."""
    return cast("Record", message)  # no type can say both "a message" and "a record"


def resource_view(message: Message) -> Resource:
    """A message by the fields that all resources have. What is written shows in the message."""
    return cast("Resource", message)
