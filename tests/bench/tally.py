"""What the connections of one load run ask and saw: the job, the running tally, and the result."""

from __future__ import annotations

import math
import time
from array import array
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["http", "grpc"]


@dataclass(frozen=True, slots=True)
class Job:
    """One load run. Every connection sends its next request as soon as its last answer is whole."""

    protocol: Protocol
    host: str
    port: int
    path: str
    """`/v1/chat/completions`, or a gRPC method such as `/llmgateway.v1.ChatService/CompleteChat`."""
    body: str
    """JSON for HTTP; a serialized message for gRPC, each character one byte."""
    word: str
    """What a whole answer repeats..."""
    words: int
    """...so many times."""
    stream: bool
    """Whether the answer comes in pieces."""
    connections: int
    key: str = ""
    """Sent as a bearer token unless empty."""
    duration: float = 4.0
    """Seconds that count. Answers that are under way at the end are awaited and do not count."""
    warmup: float = 0.5
    """Seconds before those that count."""
    requests: int = 0
    """Ends the run after so many requests, all of which count if there is no warm-up. Zero means no such end."""
    patience: float = 10.0
    """Seconds after the end until an answer that has not come is a failure."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nearest-rank percentiles, in milliseconds. All are zero when nothing was measured."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: array[float]) -> Percentiles:
        """The percentiles of spans of time."""
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] * 1e3 if ordered else 0.0

        return cls(rank(0.5), rank(0.9), rank(0.99))


@dataclass(frozen=True, slots=True)
class Result:
    """What a load run measured."""

    requests: int
    """Whole answers within the time that counts."""
    errors: int
    """Answers that failed, came broken or never came, warm-up included."""
    messages: int
    """Pieces of the whole answers: `data:` lines or gRPC messages."""
    elapsed: float
    """Seconds until the last answer that counts."""
    latency: Percentiles
    first: Percentiles
    """Until the first byte of the body."""
    cpu: float
    """Seconds of processor time that the generator itself used."""
    failures: list[str]
    """The first few different reasons."""


class Tally:
    """Counts for all connections of a run, and tells them when to stop. Spans are in seconds."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stopped = False
        self._begun = math.inf
        self._last = 0.0
        self._sent = 0
        self._messages = 0
        self._latency: array[float] = array("d")
        self._first: array[float] = array("d")
        self._errors = 0
        self._failures: dict[str, None] = {}

    def begin(self) -> None:
        """From here on answers count."""
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """From here on answers do not count, and nothing more is sent."""
        self._stopped = True

    def may_send(self) -> bool:
        """Takes leave to send one more request."""
        if self._stopped or (self._job.requests and self._sent >= self._job.requests):
            return False
        self._sent += 1
        return True

    def answered(self, sent: float, first: float, messages: int) -> None:
        """Counts a whole answer: when its request left, when its first byte came, in how many pieces it came."""
        now = time.perf_counter()
        if self._stopped or now < self._begun:
            return
        self._latency.append(now - sent)
        self._first.append(first - sent)
        self._messages += messages
        self._last = now

    def failed(self, reason: str) -> None:
        """Counts an answer that failed."""
        self._errors += 1
        if len(self._failures) < 5:
            self._failures[reason] = None

    def result(self, cpu: float) -> Result:
        """What was counted."""
        return Result(
            requests=len(self._latency),
            errors=self._errors,
            messages=self._messages,
            elapsed=max(self._last - self._begun, 0.0),
            latency=Percentiles.of(self._latency),
            first=Percentiles.of(self._first),
            cpu=cpu,
            failures=list(self._failures),
        )
