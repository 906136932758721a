"""The stubs that protoc writes, served by grpcio-testing: what they send, what they return, what they raise."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from llmgateway.v1 import chat_service_pb2, chat_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import Message, Part, Role

CHAT = chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"]
MODELS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
AUTHORIZATION = (("authorization", "Bearer lgw_test"),)
QUESTION = ChatRequest(
    model="fake/echo", messages=[Message(role=Role.ROLE_USER, parts=[Part(text="one two")])], request_id="question-1"
)


@pytest.fixture
def channel() -> Any:
    return grpc_testing.channel([CHAT, MODELS], grpc_testing.strict_fake_time(0))


@pytest.fixture
def caller() -> Iterator[ThreadPoolExecutor]:
    """Runs the blocking stubs while the test answers them."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


def test_a_unary_call_carries_the_request_and_returns_the_reply(channel: Any, caller: ThreadPoolExecutor) -> None:
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    reply = ChatResponse(message=Message(role=Role.ROLE_ASSISTANT, parts=[Part(text="one two")]))
    asked = caller.submit(stub.CompleteChat, QUESTION, metadata=AUTHORIZATION, timeout=5)

    metadata, request, call = channel.take_unary_unary(CHAT.methods_by_name["CompleteChat"])
    call.send_initial_metadata(())
    call.terminate(reply, (), grpc.StatusCode.OK, "")

    assert request == QUESTION
    assert ("authorization", "Bearer lgw_test") in tuple(metadata)
    assert asked.result(timeout=5) == reply


def test_a_stream_yields_its_events_in_order(channel: Any, caller: ThreadPoolExecutor) -> None:
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    asked = caller.submit(lambda: [event.sequence for event in stub.StreamChat(QUESTION, metadata=AUTHORIZATION)])

    _, request, call = channel.take_unary_stream(CHAT.methods_by_name["StreamChat"])
    call.send_initial_metadata(())
    for sequence in (1, 2, 3):
        call.send_response(ChatEvent(sequence=sequence))
    call.terminate((), grpc.StatusCode.OK, "")

    assert request == QUESTION
    assert asked.result(timeout=5) == [1, 2, 3]


def test_a_refusal_carries_its_details(channel: Any, caller: ThreadPoolExecutor) -> None:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="RESOURCE_NOT_FOUND", domain="llmgateway.dev"))
    status = rpc_status.to_status(status_pb2.Status(code=code_pb2.NOT_FOUND, message="no such model", details=[detail]))
    asked = caller.submit(stub.GetModel, model_service_pb2.GetModelRequest(name="models/none"))

    _, _, call = channel.take_unary_unary(MODELS.methods_by_name["GetModel"])
    call.send_initial_metadata(())
    call.terminate(None, status.trailing_metadata, status.code, status.details)

    error: Any = asked.exception(timeout=5)
    told = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert told is not None
    assert told.details[0].Unpack(info)
    assert info.reason == "RESOURCE_NOT_FOUND"


def test_a_stream_can_break_off_after_events(channel: Any, caller: ThreadPoolExecutor) -> None:
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    seen: list[int] = []

    def read() -> None:
        seen.extend(event.sequence for event in stub.StreamChat(QUESTION))

    asked = caller.submit(read)
    _, _, call = channel.take_unary_stream(CHAT.methods_by_name["StreamChat"])
    call.send_initial_metadata(())
    call.send_response(ChatEvent(sequence=1))
    call.terminate((), grpc.StatusCode.UNAVAILABLE, "gone")

    error: Any = asked.exception(timeout=5)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
