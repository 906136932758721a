"""The Python client against a real gateway: straight to the server, and through Envoy on the port of REST."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from llmgateway_client import GatewayClient, errors, function_tool, text_of, tool_calls_of, tool_result, user, v1
from tests.clients.reading import read_until_error
from tests.support.gateway import Gateway
from tests.support.simulators import SimulatorProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["straight", "through Envoy"])
async def client(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[GatewayClient]:
    """A client with the admin key."""
    address = gateway.grpc_address if request.param == "straight" else gateway.rest_address
    async with GatewayClient(address, gateway.key, timeout=20) as connected:
        yield connected


def fake(**script: object) -> dict[str, str]:
    """What makes the fake provider follow a script."""
    return {"fake": json.dumps(script)}


async def test_an_answer_streams_and_folds_to_what_comes_whole(client: GatewayClient) -> None:
    question = [user("one two three")]
    whole = await client.complete(model="fake/echo", messages=question, request_id="fold-1")
    async with client.stream(model="fake/echo", messages=question, request_id="fold-1") as stream:
        pieces = [text async for text in stream.text_stream()]
        folded = await stream.final_response()
    assert pieces == ["one ", "two ", "three"]
    assert text_of(whole.message) == "one two three"
    assert (folded.message, folded.usage, folded.finish_reason) == (whole.message, whole.usage, whole.finish_reason)
    assert folded.request_id == whole.request_id == "fold-1"


async def test_a_tool_is_called_and_answered(client: GatewayClient) -> None:
    tools = [function_tool("clock", "Tells the time.", parameters={"type": "object"})]
    question = user("What time is it?")
    calls = fake(tool_calls=[{"name": "clock", "arguments": {"zone": "Europe/Paris"}}])
    asked = await client.complete(model="fake/echo", messages=[question], tools=tools, provider_options=calls)
    (call,) = tool_calls_of(asked.message)
    assert (call.name, json.loads(call.arguments)) == ("clock", {"zone": "Europe/Paris"})
    assert asked.message is not None
    turns = [question, asked.message, tool_result(call.id, "half past nine")]
    answer = await client.complete(
        model="fake/echo", messages=turns, tools=tools, provider_options=fake(text="It is half past nine.")
    )
    assert text_of(answer.message) == "It is half past nine."


async def test_a_refused_request_names_the_field(client: GatewayClient) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        await client.complete(
            model="fake/echo", messages=[user("Hi")], generation=v1.Generation(temperature=9), request_id="bad-1"
        )
    assert caught.value.reason is v1.ErrorReason.INVALID_FIELD
    assert [violation.field for violation in caught.value.violations] == ["generation.temperature"]
    assert caught.value.request_id == "bad-1"


async def test_a_model_that_is_not_there_is_not_found(client: GatewayClient) -> None:
    with pytest.raises(errors.NotFound) as caught:
        await client.stream(model="nobody/nothing", messages=[user("Hi")]).final_response()
    assert caught.value.reason is v1.ErrorReason.RESOURCE_NOT_FOUND
    assert caught.value.metadata["resource"] == "models/nobody/nothing"


async def test_a_wrong_key_is_refused_and_not_told(gateway: Gateway) -> None:
    wrong = "lgw_" + "0" * 40
    async with GatewayClient(gateway.grpc_address, wrong) as client:
        with pytest.raises(errors.Unauthenticated) as caught:
            await client.complete(model="fake/echo", messages=[user("Hi")])
    assert caught.value.reason is v1.ErrorReason.API_KEY_INVALID
    assert wrong not in repr(caught.value)
    assert wrong not in str(caught.value)


async def test_a_provider_that_refuses_says_when_to_come_back(client: GatewayClient) -> None:
    refusal = fake(failure={"reason": "PROVIDER_RATE_LIMITED", "retry_after": 7})
    with pytest.raises(errors.ResourceExhausted) as caught:
        await client.complete(model="fake/echo", messages=[user("Hi")], provider_options=refusal)
    assert caught.value.reason is v1.ErrorReason.PROVIDER_RATE_LIMITED
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 7


@pytest.mark.parametrize("kind", ["error", "truncate"])
async def test_an_answer_that_breaks_off_raises_after_what_came(client: GatewayClient, kind: str) -> None:
    broken = fake(text="one two three", failure={"kind": kind, "after_chunks": 2})
    async with client.stream(model="fake/echo", messages=[user("Hi")], provider_options=broken) as stream:
        seen, error = await read_until_error(stream.text_stream())
    assert seen == ["one ", "two "]
    assert isinstance(error, errors.Unavailable)
    assert error.reason is v1.ErrorReason.STREAM_BROKEN
    assert error.failed is not None
    assert [attempt.outcome for attempt in error.failed.attempts] == [v1.AttemptOutcome.FAILED]


async def test_time_runs_out_at_the_gateway_too(client: GatewayClient) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await client.complete(
            model="fake/echo", messages=[user("Hi")], provider_options=fake(failure={"kind": "hang"}), timeout=0.3
        )


async def test_leaving_a_stream_lets_the_client_go_on(client: GatewayClient) -> None:
    slow = fake(text="one two three", delay_ms=10_000)
    async with asyncio.timeout(5):
        async with client.stream(model="fake/echo", messages=[user("Hi")], provider_options=slow) as stream:
            assert await anext(stream.text_stream()) == "one "
        assert (
            text_of((await client.complete(model="fake/echo", messages=[user("still here")])).message) == "still here"
        )


async def test_leaving_a_stream_stops_the_provider_at_once(
    client: GatewayClient, openai_simulator: SimulatorProcess
) -> None:
    script = {"x_sim_script": {"text": "one two three", "break_at": 3, "how": "hang"}}
    before = len(openai_simulator.journal())
    async with client.stream(
        model="simulated/chat", messages=[user("Hi")], provider_options={"openai": json.dumps(script)}
    ) as stream:
        async for event in stream:
            if event.part_delta is not None:
                break
        left = time.time()
    journal = await asyncio.to_thread(
        openai_simulator.wait_for, lambda entries: entries[before]["closed_at"] is not None
    )
    assert journal[before]["closed_at"] - left < 0.1


async def test_models_keys_and_health_are_at_hand(client: GatewayClient) -> None:
    models = await client.models.list_models(v1.ListModelsRequest(page_size=1000))
    assert "models/fake/echo" in [model.name for model in models.models]
    tenants = await client.admin.list_tenants(v1.ListTenantsRequest())
    key = await client.admin.create_api_key(
        v1.CreateApiKeyRequest(parent=tenants.tenants[0].name, api_key=v1.ApiKey(display_name="of a test"))
    )
    assert key.secret.startswith("lgw_")
    assert key.secret not in repr(key)
    await client.admin.delete_api_key(v1.DeleteApiKeyRequest(name=key.name))
    assert (await client.health.check_readiness()).status == "ok"


async def test_texts_become_vectors(client: GatewayClient) -> None:
    answer = await client.chat.embed_content(v1.EmbedContentRequest(model="models/fake/echo", texts=["a", "b"]))
    assert [len(each.values) for each in answer.embeddings] == [64, 64]


async def test_what_is_not_built_yet_says_so(client: GatewayClient) -> None:
    with pytest.raises(errors.Unimplemented) as caught:
        await client.evaluation.list_datasets(v1.ListDatasetsRequest(parent="tenants/default"))
    assert caught.value.reason is v1.ErrorReason.FEATURE_DISABLED
