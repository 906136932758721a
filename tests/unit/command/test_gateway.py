"""The command as a client, against a gRPC server of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import grpc.aio
import pytest
from google.rpc import code_pb2, error_details_pb2

from llmgateway.v1 import chat_service_pb2_grpc
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, Failed
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.command import chat
from llmgateway_server.command.conversation import Conversation
from llmgateway_server.command.gateway import connected
from llmgateway_server.command.report import Mistake
from llmgateway_server.errors import GatewayError, NotFound, Unavailable, Unimplemented
from tests.clients.chat_server import KEY, end_with, numbered, serving, whole_answer

Context = grpc.aio.ServicerContext[Any, Any]
EVENTS = whole_answer("Good ", "day")


class Scripted(chat_service_pb2_grpc.ChatServiceServicer):
    """Answers with some events and an end, and remembers what it was sent."""

    def __init__(self, *events: ChatEvent) -> None:
        self.events = events
        self.ending: tuple[int, str, list[Any]] | None = None
        self.hang = False
        self.ended = asyncio.Event()
        self.requests: list[ChatRequest] = []
        self.metadata: dict[str, Any] = {}

    async def StreamChat(self, request: ChatRequest, context: Context) -> AsyncIterator[ChatEvent]:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata() or ())
        try:
            for event in self.events:
                yield event
            if self.hang:
                await asyncio.Event().wait()
            if self.ending:
                code, message, details = self.ending
                await end_with(context, code, message, *details)
        finally:
            self.ended.set()


def ask(address: str, text: str = "Hello") -> Conversation:
    conversation = Conversation("acme/large")
    with connected(address, KEY, plaintext=False) as gateway:
        chat.answer(gateway, conversation, text)
    return conversation


async def test_an_answer_is_written_summed_up_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    service = Scripted(*EVENTS)
    async with serving(service) as address:
        conversation = await asyncio.to_thread(ask, address)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("Good day\n", 1)
    assert service.metadata["authorization"] == f"Bearer {KEY}"
    assert [part.text for turn in conversation.request("?").messages for part in turn.parts] == [
        "Hello",
        "Good day",
        "?",
    ]


async def test_a_refusal_has_its_reason_its_class_and_its_request() -> None:
    service = Scripted()
    info = error_details_pb2.ErrorInfo(reason="RESOURCE_NOT_FOUND", domain="llmgateway.dev")
    request = error_details_pb2.RequestInfo(request_id="r-1")
    service.ending = (code_pb2.NOT_FOUND, "there is no such model.", [info, request])
    async with serving(service) as address:
        with pytest.raises(NotFound) as caught:
            await asyncio.to_thread(ask, address)
    assert (caught.value.reason_name, caught.value.message) == ("RESOURCE_NOT_FOUND", "there is no such model.")
    assert caught.value.metadata == {"request_id": "r-1"}


async def test_an_answer_that_breaks_off_fails_with_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    failed = ChatEvent(failed=Failed(reason=ErrorReason.ERROR_REASON_STREAM_BROKEN, message="it broke."))
    service = Scripted(*numbered(*EVENTS[:2], failed))
    info = error_details_pb2.ErrorInfo(reason="STREAM_BROKEN", domain="llmgateway.dev")
    service.ending = (code_pb2.UNAVAILABLE, "it broke.", [info])
    async with serving(service) as address:
        with pytest.raises(Unavailable, match="it broke") as caught:
            await asyncio.to_thread(ask, address)
    assert caught.value.reason == ErrorReason.ERROR_REASON_STREAM_BROKEN
    assert capsys.readouterr() == ("Good \n", "")


async def test_an_answer_without_its_end_is_broken() -> None:
    async with serving(Scripted(*EVENTS[:-1])) as address:
        with pytest.raises(Unavailable, match="without its last event"):
            await asyncio.to_thread(ask, address)


async def test_to_close_an_answer_cancels_it() -> None:
    service = Scripted(*EVENTS[:2])
    service.hang = True

    def take_two(address: str) -> None:
        with connected(address, KEY, plaintext=False) as gateway, closing(gateway.stream_chat(ChatRequest())) as events:
            next(events)
            next(events)

    async with serving(service) as address:
        await asyncio.to_thread(take_two, address)
        async with asyncio.timeout(10):
            await service.ended.wait()


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (code_pb2.UNAVAILABLE, Unavailable, "no gateway answers at '127.0.0.1:"),
        (code_pb2.UNIMPLEMENTED, Unimplemented, "Admin may have an address of its own"),
        (code_pb2.DATA_LOSS, GatewayError, "what the other end says"),
    ],
)
async def test_what_no_gateway_said_is_put_in_words(code: int, kind: type[GatewayError], message: str) -> None:
    service = Scripted()
    foreign = error_details_pb2.ErrorInfo(reason="RESOURCE_NOT_FOUND", domain="example.com")
    service.ending = (code, "what the other end says", [foreign])
    async with serving(service) as address:
        with pytest.raises(kind, match=message) as caught:
            await asyncio.to_thread(ask, address)
    assert (type(caught.value), caught.value.reason_name) == (kind, "UNSPECIFIED")


async def test_a_wildcard_address_is_reached_on_this_machine() -> None:
    async with serving(Scripted(*EVENTS)) as address:
        port = address.rpartition(":")[2]
        await asyncio.to_thread(ask, f"0.0.0.0:{port}")


async def test_a_key_crosses_a_network_encrypted_or_by_request_only() -> None:
    """`gateway.localhost` is of this machine, but nothing says so."""
    service = Scripted(*EVENTS)
    async with serving(service) as address:
        far = address.replace("127.0.0.1", "ipv4:127.0.0.1")
        with pytest.raises(Unavailable):
            await asyncio.to_thread(ask, far)
        assert service.requests == []

        def ask_plainly() -> None:
            with connected(far, KEY, plaintext=True) as gateway:
                chat.answer(gateway, Conversation("acme/large"), "Hello")

        await asyncio.to_thread(ask_plainly)
        assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("key", "problem"), [("", "there is no API key"), ("lgw_ä", "characters"), ("lgw a", "characters")]
)
def test_a_key_that_cannot_be_one_is_not_sent(key: str, problem: str) -> None:
    with pytest.raises(Mistake, match=problem), connected("127.0.0.1:1", key, plaintext=False):
        raise AssertionError("connected")


async def test_a_conversation_outlives_what_goes_wrong_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    service = Scripted(*EVENTS)
    info = error_details_pb2.ErrorInfo(reason="RATE_LIMITED", domain="llmgateway.dev")
    said: list[str | BaseException] = ["first", "", KeyboardInterrupt(), "\udcff", "second", EOFError()]

    def read() -> str:
        turn = said.pop(0)
        if turn == "second":
            service.events, service.ending = (), (code_pb2.RESOURCE_EXHAUSTED, "slow down.", [info])
        if isinstance(turn, BaseException):
            raise turn
        return turn

    def converse(address: str) -> None:
        with connected(address, KEY, plaintext=False) as gateway:
            chat.converse(gateway, Conversation("acme/large"), read)

    async with serving(service) as address:
        await asyncio.to_thread(converse, address)
    out, err = capsys.readouterr()
    assert out == "Good day\n\n\n"
    assert err.splitlines()[1:] == ["error: the message is not UTF-8 text", "error: RATE_LIMITED: slow down."]
    assert [[part.text for turn in request.messages for part in turn.parts] for request in service.requests] == [
        ["first"],
        ["first", "Good day", "second"],
    ]
