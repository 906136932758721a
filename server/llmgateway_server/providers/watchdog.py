"""Times the steps of an attempt: one timer for a whole stream, however many events it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import DeadlineExceeded, GatewayError
from llmgateway_server.providers.failures import unavailable
from llmgateway_server.providers.wire import OutgoingCall

CONNECT, FIRST_EVENT, IDLE, TOTAL, DEADLINE = "connect", "first_event", "idle", "total", "deadline"
"""What may run out: the fields of `Timeouts`, and the caller's own deadline."""


_SLACK_SECONDS = 0.1
"""Time between planning an attempt and its beginning, at most."""


class Clockwork:
    """The moments by which one attempt must have got somewhere, by the event loop's clock in seconds."""

    def __init__(self, call: OutgoingCall) -> None:
        self._timeouts = call.timeouts
        self.began = asyncio.get_running_loop().time()
        total_at = self.began + call.timeouts.total
        # The deadline of a call is the lesser of the caller's and the attempt's own. One that comes with the end of the
        # attempt is not the caller's: another provider may still have time to answer.
        of_caller = call.deadline < total_at - _SLACK_SECONDS
        self.deadline = call.deadline if of_caller else inf
        self.total_at = total_at if of_caller else min(total_at, call.deadline)
        self.first_event_at = self.began + call.timeouts.first_event

    @property
    def end(self) -> float:
        """The moment by which all must be done."""
        return min(self.total_at, self.deadline)

    @property
    def overdue(self) -> bool:
        """Whether there is no time left."""
        return asyncio.get_running_loop().time() >= self.end

    def expired(self, what: str = "") -> GatewayError:
        """The error for what ran out; by the clock, when it is not said what."""
        now = asyncio.get_running_loop().time()
        if what == DEADLINE or (not what and now >= self.deadline):
            return DeadlineExceeded(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, "the deadline passed before the provider had answered."
            )
        what = what or (TOTAL if now >= self.total_at else FIRST_EVENT)
        seconds: float = getattr(self._timeouts, what)
        return unavailable(
            f"the provider was too slow: the timeout {what!r} of {seconds:g} seconds ran out.",
            metadata={"timeout": what, "seconds": f"{seconds:g}"},
        )


class Watchdog:
    """Calls back once when a stream has been silent for too long, or lasts too long.

    Feeding it is an assignment: the timer is moved only when it fires too early. While the consumer holds the stream
    up, `rest` keeps silence from counting against the provider.
    """

    def __init__(self, clockwork: Clockwork, on_expiry: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._clockwork = clockwork
        self._on_expiry = on_expiry
        self._silent = FIRST_EVENT
        self._silent_at = inf
        self._seconds = inf
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = inf
        self.expired = ""
        """What ran out; empty as long as nothing did."""

    def watch_until(self, moment: float) -> None:
        """Allows silence until a moment, before the first event."""
        self._silent_at = moment
        self._arm_for(moment)

    def watch(self, seconds: float) -> None:
        """From now on, allows this many seconds of silence."""
        self._silent = IDLE
        self._seconds = seconds
        self._silent_at = self._loop.time() + seconds
        if self._silent_at < self._armed_at:
            self._arm_for(self._silent_at)

    def rest(self) -> None:
        """The consumer has the stream: silence does not count until the next `watch`."""
        self._silent_at = inf

    def stop(self) -> None:
        """Lets go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm_for(self, moment: float) -> None:
        self.stop()
        self._armed_at = min(moment, self._clockwork.end)
        self._timer = self._loop.call_at(self._armed_at, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now >= self._clockwork.deadline:
            self.expired = DEADLINE
        elif now >= self._clockwork.total_at:
            self.expired = TOTAL
        elif now >= self._silent_at:
            self.expired = self._silent
        if self.expired:
            self._timer = None
            self._on_expiry()
        else:
            # A `watch` that is still to come ends no sooner than its whole time from now.
            self._arm_for(min(self._silent_at, now + self._seconds))
