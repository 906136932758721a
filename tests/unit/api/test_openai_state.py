"""Providers' state through OpenAI's surface and back."""

import json

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Message, Part, ProviderState, ToolCall, Usage
from llmgateway_server.api.openai import response
from llmgateway_server.api.openai.request import parse_chat
from llmgateway_server.errors import GatewayError

PARTS = [
    Part(reasoning="Let me see.", provider_state=ProviderState(wire_format="anthropic", data=b"sig\x00\xff")),
    Part(provider_state=ProviderState(wire_format="anthropic", data=b"redacted")),
    Part(text="I ask."),
    Part(
        tool_call=ToolCall(id="c1", name="f", arguments="{}"),
        provider_state=ProviderState(wire_format="gemini", data=b"thought"),
    ),
]


def sent_back(message: object) -> Message:
    """The assistant turn as the gateway reads it when a caller sends it back."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}, message, {"role": "tool", "tool_call_id": "c1", "content": "r"}],
    }
    return parse_chat(orjson.dumps(body)).request.messages[1]


def test_a_whole_message_comes_back_as_it_was() -> None:
    answer = ChatResponse(message=Message(parts=PARTS), finish_reason=FinishReason.FINISH_REASON_TOOL_CALLS)
    body = json.loads(response.whole([answer], "m", Usage()))
    assert list(sent_back(body["choices"][0]["message"]).parts) == PARTS


def test_a_streamed_message_comes_back_as_it_was() -> None:
    writer = response.ChunkWriter(Started(response_id="r"), 0, "m", include_usage=False)
    deltas = [
        PartDelta(part_index=0, reasoning="Let me "),
        PartDelta(part_index=0, reasoning="see."),
        PartDelta(part_index=0, provider_state=PARTS[0].provider_state),
        PartDelta(part_index=1, provider_state=PARTS[1].provider_state),
        PartDelta(part_index=2, text="I ask."),
        PartDelta(part_index=3, provider_state=PARTS[3].provider_state),
    ]
    deltas[5].tool_call.id, deltas[5].tool_call.name, deltas[5].tool_call.arguments = "c1", "f", "{}"
    for delta in deltas:
        writer.delta(delta)
    last = json.loads(writer.finish(FinishReason.FINISH_REASON_TOOL_CALLS).removeprefix(b"data: "))
    message = {
        "role": "assistant",
        "content": "I ask.",
        "reasoning_content": "Let me see.",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "provider_state": last["choices"][0]["delta"]["provider_state"],
    }
    assert list(sent_back(message).parts) == PARTS


def test_a_message_without_state_has_no_such_field() -> None:
    answer = ChatResponse(message=Message(parts=[Part(text="hi")]), finish_reason=FinishReason.FINISH_REASON_STOP)
    assert b"provider_state" not in response.whole([answer], "m", Usage())


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ("x", "messages[1].provider_state[0]"),
        ({"kind": "other"}, "messages[1].provider_state[0].kind"),
        ({"kind": "tool_call", "call_id": "c9", "wire_format": "w"}, "messages[1].provider_state[0].call_id"),
        ({"kind": "none", "data": "AA=="}, "messages[1].provider_state[0].wire_format"),
        ({"kind": "none", "wire_format": "w", "data": "*"}, "messages[1].provider_state[0].data"),
        ({"kind": "none", "wire_format": "w", "part": -1}, "messages[1].provider_state[0].part"),
    ],
)
def test_an_entry_that_was_changed_is_refused(entry: object, field: str) -> None:
    message = {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "provider_state": [entry],
    }
    with pytest.raises(GatewayError) as caught:
        sent_back(message)
    assert caught.value.field == field
