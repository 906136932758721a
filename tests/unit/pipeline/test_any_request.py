"""Any request that the proto allows is answered or refused with an error that its caller may see; nothing else."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import (
    FunctionTool,
    Generation,
    Message,
    Part,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmgateway_server.pipeline import build
from llmgateway_server.pipeline.authorize import authorize
from llmgateway_server.pipeline.dispatch import Dispatch
from llmgateway_server.pipeline.meter import Meter
from llmgateway_server.pipeline.validate import validate
from llmgateway_server.ports.provider import Timeouts
from llmgateway_server.providers.fake import FakeAdapter
from llmgateway_server.routing.planner import Planner
from llmgateway_server.system import SystemClock
from tests.support.calls import PROVIDER, call_of, catalogue_of, deployment, question, read
from tests.support.doubles import KeptRecords
from tests.support.messages import any_message
from tests.support.system import CountingIds

_CATALOGUE = catalogue_of(PROVIDER, {"name": "models/a", "price": {"input": 1, "output": 1}}, deployment("d"))
TOOLS = [Tool(function=FunctionTool(name="add", parameters_schema="{}"))]
CONVERSATION = [
    *question().messages,
    Message(role=Role.ROLE_ASSISTANT, parts=[Part(tool_call=ToolCall(id="c1", name="add"))]),
    Message(role=Role.ROLE_TOOL, parts=[Part(tool_result=ToolResult(call_id="c1", parts=[Part(text="3")]))]),
]


def _handle(request: ChatRequest, *, stream: bool) -> None:
    clock, sink = SystemClock(), KeptRecords()
    dispatch = Dispatch(
        Planner(_CATALOGUE, random.Random(1).random),
        lambda _: FakeAdapter(clock),
        clock=clock,
        ids=CountingIds(),
        timeouts=Timeouts(),
    )
    stages = {"meter": Meter(sink, clock, CountingIds()), "authorize": authorize, "validate": validate}
    handler = build(stages, dispatch)

    async def run() -> None:
        events, error = await read(handler(call_of(request, clock, stream=stream)))
        assert (error is None) is (bool(events) and events[-1].HasField("finished"))
        assert sink.only.reason == (error.reason if error is not None else 0)
        if error is not None:
            assert error.message.endswith(".")
        sink.only.SerializeToString()

    asyncio.run(run())


@given(any_message(ChatRequest), st.booleans())
def test_any_request_is_answered_or_refused(sent: ChatRequest, stream: bool) -> None:
    _handle(sent, stream=stream)


@settings(max_examples=100)
@given(
    st.lists(any_message(Message), max_size=2),
    st.lists(any_message(Tool), max_size=2),
    any_message(ToolChoice) | st.none(),
    any_message(Generation) | st.none(),
    st.booleans(),
)
def test_any_part_of_a_request_is_answered_or_refused(
    messages: list[Message], tools: list[Tool], choice: ToolChoice | None, generation: Generation | None, stream: bool
) -> None:
    """One part after the other is put into a request that is right otherwise, so that each is looked at."""
    for fields in ({"messages": messages}, {"tools": tools}, {"tool_choice": choice}, {"generation": generation}):
        sent = ChatRequest(model="models/a", messages=CONVERSATION, tools=TOOLS)
        if any(fields.values()):
            sent.MergeFrom(ChatRequest(**fields))  # pyright: ignore[reportArgumentType] - one field of its type
        _handle(sent, stream=stream)


def test_the_request_around_them_is_right() -> None:
    _handle(ChatRequest(model="models/a", messages=CONVERSATION, tools=TOOLS), stream=True)
