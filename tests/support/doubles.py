"""Small stand-ins for what the core needs of the outside. They keep the rules of the ports they stand for."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway_server.ports.provider import Endpoint, ProviderCall


@dataclass(slots=True)
class KeptRecords:
    """A `UsageSink` that keeps what it is given."""

    records: list[UsageRecord] = field(default_factory=list[UsageRecord])

    def record(self, record: UsageRecord) -> None:
        self.records.append(record)

    @property
    def only(self) -> UsageRecord:
        """The one record there is."""
        (record,) = self.records
        return record


Step = ChatEvent | Exception | Callable[[], object]
"""One thing an adapter does: yields an event, raises, or does something, which is awaited if it can be."""


@dataclass(slots=True)
class ScriptedAdapter:
    """A `ChatAdapter` that follows a script for each deployment, and remembers what was asked of it."""

    scripts: dict[str, Sequence[Step]]
    asked: list[ProviderCall] = field(default_factory=list[ProviderCall])
    closed: list[str] = field(default_factory=list[str])
    """Deployments whose iterators have ended or were closed, in that order."""

    def __call__(self, endpoint: Endpoint) -> "ScriptedAdapter":
        """The adapter of an endpoint, as dispatch looks it up."""
        return self

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        self.asked.append(call)
        try:
            for step in self.scripts[call.endpoint.deployment]:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, ChatEvent):
                    event = ChatEvent()
                    event.CopyFrom(step)
                    yield event
                else:
                    done = step()
                    if asyncio.iscoroutine(done) or asyncio.isfuture(done):
                        await done
        finally:
            self.closed.append(call.endpoint.deployment)


def started(**fields: object) -> ChatEvent:
    """The first event of an answer."""
    return ChatEvent(started=Started(**fields))  # pyright: ignore[reportArgumentType] - any field of the message


def text(value: str, index: int = 0) -> ChatEvent:
    """A piece of text."""
    return ChatEvent(part_delta=PartDelta(part_index=index, text=value))


def empty_delta(index: int = 0) -> ChatEvent:
    """A piece that says nothing of the answer."""
    return ChatEvent(part_delta=PartDelta(part_index=index))


def finished(
    input_tokens: int = 3,
    output_tokens: int = 5,
    reason: FinishReason = FinishReason.FINISH_REASON_STOP,
) -> ChatEvent:
    """The last event of a whole answer."""
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return ChatEvent(finished=Finished(finish_reason=reason, usage=usage))


def answer(*words: str) -> list[ChatEvent]:
    """The events of a whole answer, a delta a word."""
    return [started(), *(text(word) for word in words), finished()]
