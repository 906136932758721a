"""A streamed answer: its events, its text, or the whole of it, whichever the caller wants."""

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Self

from llmgateway_client import errors
from llmgateway_client.folding import Fold
from llmgateway_client.generated.llmgateway import v1


class ChatStream:
    """One answer while it comes. Use it as a context: to leave it early ends the answer, at the provider too.

    Iterate over it for its events, or over `text_stream()` for its text; then, or instead, await `final_response()`.
    All three read the same stream, each from where the last one stopped. The request is sent when the first event is
    asked for.

    Errors: `GatewayError` and its children, when the answer is refused or breaks off. A stream that ends without its
    last event raises `Unavailable` with the reason `STREAM_BROKEN`; what came before stands, and is not whole.
    """

    def __init__(self, events: AsyncGenerator[v1.ChatEvent, None]) -> None:
        self._events = events
        self._fold = Fold()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the call if it still runs."""
        await self._events.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> v1.ChatEvent:
        fold = self._fold
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            if fold.failed is not None:
                raise errors.from_event(fold.failed) from None
            if not fold.done:
                raise errors.broken("the answer ended without its last event; send the request again.") from None
            raise
        except errors.GatewayError as error:
            error.failed = fold.failed
            raise
        fold.add(event)
        return event

    async def text_stream(self) -> AsyncIterator[str]:
        """The text of the answer, piece by piece. Refusals, reasoning and tool calls are not text."""
        async for event in self:
            if event.part_delta is not None and event.part_delta.text:
                yield event.part_delta.text

    async def final_response(self) -> v1.ChatResponse:
        """Reads what is left and returns the whole answer. Raises as iteration does."""
        async for _ in self:
            pass
        return self._fold.response()
