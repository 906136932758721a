"""Moments and spans as messages, written the short way: the messages' own helpers cost several microseconds each."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000
_NANOS_IN_MICRO = 1_000


def set_time(timestamp: Timestamp, moment: datetime) -> None:
    """Writes an aware moment, to the microsecond."""
    timestamp.seconds = int(moment.timestamp() // 1)
    timestamp.nanos = moment.microsecond * _NANOS_IN_MICRO


def set_seconds(duration: Duration, seconds: float) -> None:
    """Writes a span of zero or more seconds, to the nanosecond."""
    whole = int(seconds)
    duration.seconds = whole
    duration.nanos = int((seconds - whole) * _NANOS)


def to_seconds(duration: Duration) -> float:
    """A span in seconds."""
    return duration.seconds + duration.nanos / _NANOS
