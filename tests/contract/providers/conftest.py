"""An adapter for each wire format, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import ProviderCall, Timeouts
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.http import HttpAdapter
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import Case, cases_of
from tests.contract.providers.formats import FORMATS, Format


@dataclass
class Outcome:
    """What came of a call: the events, and the error if there was one."""

    events: list[ChatEvent] = field(default_factory=list[ChatEvent])
    error: GatewayError | None = None

    @property
    def reason(self) -> str:
        return self.error.reason_name if self.error is not None else ""


@dataclass
class Line:
    """A wire format with an adapter that speaks it, and answers that were recorded."""

    format: Format
    client: HttpClient
    adapter: HttpAdapter
    text: Case
    tools: Case

    def call(
        self,
        url: str,
        *,
        stream: bool,
        timeouts: Timeouts | None = None,
        seconds: float = 10.0,
        request: ChatRequest | None = None,
    ) -> ProviderCall:
        """A call to a server, to be done within so many seconds."""
        return ProviderCall(
            request=request or self.text.request,
            endpoint=self.format.endpoint(base_url=url),
            stream=stream,
            deadline=asyncio.get_running_loop().time() + seconds,
            timeouts=timeouts or Timeouts(),
            request_id="request-1",
        )

    async def run(self, call: ProviderCall, *, on_event: Callable[[], object] = int) -> Outcome:
        """Makes the call and tells what came of it."""
        outcome = Outcome()
        try:
            async with aclosing(self.adapter.chat(call)) as events:
                async for event in events:
                    outcome.events.append(event)
                    on_event()
        except GatewayError as error:
            outcome.error = error
        return outcome


@pytest.fixture(params=FORMATS, ids=lambda each: each.name)
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    each: Format = request.param
    client = HttpClient()
    recorded = {(case.behaviour, case.fields["name"]): case for case in cases_of(each)}
    yield Line(
        format=each,
        client=client,
        adapter=HttpAdapter(each.wire, client, SystemClock()),
        text=recorded["text", "one question"],
        tools=recorded["tools", "called"],
    )
    await client.close()
