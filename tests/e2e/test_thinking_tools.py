"""Three turns of tools with thinking through OpenAI's surface: what providers signed comes back to them unchanged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.support.gateway import Gateway, running_gateway
from tests.support.simulators import SimulatorProcess, simulator

KEY = "key-of-the-simulators"
WIRES = ("anthropic", "gemini")
MODELS = {"anthropic": "claude-sonnet-4-5-sim", "gemini": "gemini-3-sim"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, SimulatorProcess]]:
    """A simulator of each dialect."""
    with (
        simulator("tests.support.anthropic_simulator", "--key", KEY) as anthropic,
        simulator("tests.support.gemini_simulator", "--key", KEY) as gemini,
    ):
        yield {"anthropic": anthropic, "gemini": gemini}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstreams: dict[str, SimulatorProcess]) -> Iterator[Gateway]:
    """A gateway in front of them."""
    providers = [
        {
            "name": f"providers/{wire}-sim",
            "wire_format": wire,
            "base_url": upstream.url,
            "credential": "env:SIMULATOR_KEY",
            "serves_unlisted_models": True,
        }
        for wire, upstream in upstreams.items()
    ]
    folder: Path = tmp_path_factory.mktemp("thinking")
    configuration = {"resources": {"providers": providers}}
    with running_gateway(folder, configuration=configuration, environment={"SIMULATOR_KEY": KEY}) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_three_turns(gateway: Gateway, upstreams: dict[str, SimulatorProcess], wire: str, stream: bool) -> None:
    cities = ("Oslo", "Rome")
    calls = [[{"name": "get_weather", "arguments": {"city": city}}] * 2 for city in cities]
    upstreams[wire].queue(
        *({"reasoning": f"Now {city}.\n", "tool_calls": wanted} for city, wanted in zip(cities, calls, strict=True)),
        {"reasoning": "Done.", "text": "Sunny."},
    )
    messages: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        for city in cities:
            message = await ask(client, wire, messages, stream=stream)
            assert [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]] == [{"city": city}] * 2
            assert message["provider_state"]
            messages.append(message)
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in message["tool_calls"]
            ]
        message = await ask(client, wire, messages, stream=stream)

    # The simulators refuse a signature that is not of the very words they signed.
    assert message["content"] == "Sunny."


async def ask(client: AsyncOpenAI, wire: str, messages: list[Any], *, stream: bool) -> dict[str, Any]:
    """The assistant's message, as a caller keeps it to send it back."""
    asked: Any = {
        "model": f"{wire}-sim/{MODELS[wire]}",
        "messages": messages,
        "tools": [TOOL],
        "reasoning_effort": "low",
    }
    if not stream:
        answer = await client.chat.completions.create(**asked)
        return answer.choices[0].message.model_dump(exclude_none=True)
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        delta: dict[str, Any] = chunk.choices[0].delta.model_dump(exclude_none=True)
        message["content"] += delta.get("content", "")
        message["provider_state"] = delta.get("provider_state", message.get("provider_state"))
        for call in delta.get("tool_calls", []):
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
            kept = message["tool_calls"][call["index"]]
            kept["id"] += call.get("id") or ""
            kept["function"]["name"] += call["function"].get("name") or ""
            kept["function"]["arguments"] += call["function"].get("arguments") or ""
    return {name: value for name, value in message.items() if value}
