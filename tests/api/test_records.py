"""What calls leave behind: a usage record each, and no secret anywhere."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf import json_format

from llmgateway.v1 import chat_service_pb2_grpc
from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.admin_service_pb2 import ListUsageRecordsRequest, ListUsageRecordsResponse
from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import FinishReason
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin.keys import hash_key
from tests.support.calling import OPENAI_CHAT, GrpcTransport, bearer, openai_message
from tests.support.transcoding import message_of, methods
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = {"model": "models/fake/echo", "messages": [{"role": "ROLE_USER", "parts": [{"text": "one two three"}]}]}
COMPLETE, STREAM = "ChatService/CompleteChat", "ChatService/StreamChat"


@pytest_asyncio.fixture(loop_scope="session")
async def channel(grpc_world: World) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(grpc_world.address) as opened:
        yield opened


async def record_of(request_id: str, transport: GrpcTransport, world: World, *, count: int = 1) -> UsageRecord:
    """The record of a request, as soon as it is written."""
    method = methods()["AdminService/ListUsageRecords"]
    request = ListUsageRecordsRequest(parent=world.acme, filter=f'request_id = "{request_id}"')
    async with asyncio.timeout(5.0):
        while True:
            reply = await transport.call(method, request, world.metadata("reader"))
            records = json_format.ParseDict(reply.messages[0], ListUsageRecordsResponse()).usage_records
            if records:
                assert len(records) == count
                return records[0]
            await asyncio.sleep(0.02)


async def ask(transport: GrpcTransport, world: World, name: str, fields: Mapping[str, Any], who: str = "chat") -> None:
    method = methods()[name]
    await transport.call(method, message_of(method, {**QUESTION, **fields}), world.metadata(who))


async def test_a_whole_answer_leaves_a_record(grpc_transport: GrpcTransport, grpc_world: World) -> None:
    await ask(grpc_transport, grpc_world, COMPLETE, {"requestId": "record-1", "labels": {"team": "search"}})
    record = await record_of("record-1", grpc_transport, grpc_world)
    assert record.name.startswith(f"{grpc_world.acme}/usageRecords/")
    assert record.api_key == f"{grpc_world.acme}/apiKeys/chat"
    assert record.method == "llmgateway.v1.ChatService/CompleteChat"
    assert record.requested == "models/fake/echo"
    assert (record.usage.input_tokens, record.usage.output_tokens) == (3, 3)
    assert record.HasField("cost_nanos")
    assert record.finish_reason == FinishReason.FINISH_REASON_STOP
    assert record.reason == ErrorReason.ERROR_REASON_UNSPECIFIED
    assert dict(record.labels) == {"team": "search"}
    assert [attempt.deployment for attempt in record.attempts] == ["deployments/fake-echo"]
    assert 0 < record.first_event_micros <= record.latency_micros


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("record-2", {"messages": []}, ErrorReason.ERROR_REASON_INVALID_FIELD),
        ("record-3", {"model": "models/none"}, ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND),
        (
            "record-4",
            {"providerOptions": {"fake": '{"failure": {"after_chunks": 1}}'}},
            ErrorReason.ERROR_REASON_STREAM_BROKEN,
        ),
    ],
)
async def test_a_failure_leaves_a_record(
    name: str, fields: dict[str, Any], reason: ErrorReason, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    await ask(grpc_transport, grpc_world, STREAM, {**fields, "requestId": name})
    record = await record_of(name, grpc_transport, grpc_world)
    assert record.reason == reason
    assert record.finish_reason == FinishReason.FINISH_REASON_UNSPECIFIED


async def test_a_call_that_its_caller_leaves_ends_and_leaves_a_record(
    channel: grpc.aio.Channel, grpc_transport: GrpcTransport, grpc_world: World
) -> None:
    fields = {**QUESTION, "requestId": "record-5", "providerOptions": {"fake": '{"delay_ms": 3600000}'}}
    stub = chat_service_pb2_grpc.ChatServiceStub(channel)
    call = stub.StreamChat(
        json_format.ParseDict(fields, ChatRequest()), metadata=grpc_world.metadata("chat"), timeout=60
    )
    await call.read()
    call.cancel()
    record = await record_of("record-5", grpc_transport, grpc_world)
    assert record.reason == ErrorReason.ERROR_REASON_CANCELLED
    assert record.latency_micros < 5_000_000


async def test_a_request_without_a_key_leaves_no_record(grpc_transport: GrpcTransport, grpc_world: World) -> None:
    await ask(grpc_transport, grpc_world, COMPLETE, {"requestId": "record-6"}, who="none")
    await ask(grpc_transport, grpc_world, COMPLETE, {"requestId": "record-7"})
    await record_of("record-7", grpc_transport, grpc_world)
    reply = await grpc_transport.call(
        methods()["AdminService/ListUsageRecords"],
        ListUsageRecordsRequest(parent="tenants/-", filter='request_id = "record-6"'),
        grpc_world.metadata("admin"),
    )
    assert reply.messages == [{}]


async def test_each_of_several_answers_leaves_a_record(grpc_transport: GrpcTransport, grpc_world: World) -> None:
    body = {"model": "fake/echo", "n": 3, "messages": [{"role": "user", "content": "hi"}]}
    method = methods()[OPENAI_CHAT]
    metadata = (*grpc_world.metadata("chat"), ("x-request-id", "record-8"))
    await grpc_transport.call(method, openai_message(method, json.dumps(body).encode()), metadata)
    await record_of("record-8", grpc_transport, grpc_world, count=3)


async def test_no_method_returns_a_secret_but_the_one_that_makes_it(
    channel: grpc.aio.Channel, grpc_world: World
) -> None:
    """Looks at the bytes as they come, so that no field is overlooked."""

    async def send(name: str, fields: Mapping[str, Any]) -> bytes:
        method = methods()[name]
        path = f"/{method.containing_service.full_name}/{method.name}"
        call = channel.unary_unary(path)(
            message_of(method, dict(fields)).SerializeToString(), metadata=bearer(grpc_world.keys["admin"]), timeout=10
        )
        return bytes(await call)

    parent, key_id = grpc_world.acme, "canary"
    name = f"{parent}/apiKeys/{key_id}"
    made = await send("AdminService/CreateApiKey", {"parent": parent, "apiKeyId": key_id, "apiKey": {}})
    secrets = [_secret_in(made)]
    rotated = await send("AdminService/RotateApiKey", {"name": name, "overlap": "3600s"})
    secrets.append(_secret_in(rotated))
    try:
        answers = {
            "create": made.replace(secrets[0].encode(), b""),
            "rotate": rotated.replace(secrets[1].encode(), b""),
            "get": await send("AdminService/GetApiKey", {"name": name}),
            "list": await send("AdminService/ListApiKeys", {"parent": parent}),
            "list of all": await send("AdminService/ListApiKeys", {"parent": "tenants/-"}),
            "update": await send("AdminService/UpdateApiKey", {"apiKey": {"name": name, "displayName": "x"}}),
            "no change": await send("AdminService/UpdateApiKey", {"apiKey": {"name": name, "displayName": "x"}}),
            "events": await send("AdminService/ListAuditEvents", {"parent": parent}),
            "records": await send("AdminService/ListUsageRecords", {"parent": parent}),
            "health": await send("AdminService/GetHealthSummary", {}),
        }
    finally:
        await send("AdminService/DeleteApiKey", {"name": name})
    for what, answer in answers.items():
        for form in _forms([*secrets, *filter(None, grpc_world.keys.values())]):
            assert form not in answer, what


def _secret_in(answer: bytes) -> str:
    start = answer.index(b"lgw_")
    return answer[start : start + 66].decode()


def _forms(secrets: list[str]) -> list[bytes]:
    """What of a secret must not be seen: itself without its public prefix, and its hash, each in several spellings."""
    forms: list[bytes] = []
    for secret in secrets:
        digest = hash_key(secret)
        forms += [secret[12:].encode(), digest, digest.hex().encode(), base64.b64encode(digest)]
    return forms
