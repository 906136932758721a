"""Providers: one wire format a file, pure, and one adapter that does the network's work for all of them.

No routing, no retries, no cost: an adapter asks once and says what came of it. `Providers` is all that the rest of the
server needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmgateway_server.errors import invalid_field
from llmgateway_server.ports.operations import OperationAdapter
from llmgateway_server.ports.provider import ChatAdapter, Endpoint
from llmgateway_server.ports.system import Clock
from llmgateway_server.providers.anthropic import AnthropicMessages
from llmgateway_server.providers.client import HttpClient
from llmgateway_server.providers.cohere import CohereChat
from llmgateway_server.providers.fake import FakeAdapter
from llmgateway_server.providers.fake_operations import FakeOperations
from llmgateway_server.providers.gemini import Gemini
from llmgateway_server.providers.http import HttpAdapter
from llmgateway_server.providers.ollama import OllamaChat
from llmgateway_server.providers.openai import OpenAIChat
from llmgateway_server.providers.openai_operations import OPENAI_OPERATIONS
from llmgateway_server.providers.operations import HttpOperations


@dataclass(frozen=True, slots=True)
class Means:
    """What adapters are made with."""

    client: HttpClient
    clock: Clock


WIRE_FORMATS: Mapping[str, Callable[[Means], ChatAdapter]] = {
    "fake": lambda means: FakeAdapter(means.clock),
    "anthropic": lambda means: HttpAdapter(AnthropicMessages(), means.client, means.clock),
    "cohere": lambda means: HttpAdapter(CohereChat(), means.client, means.clock),
    "gemini": lambda means: HttpAdapter(Gemini(), means.client, means.clock),
    "ollama": lambda means: HttpAdapter(OllamaChat(), means.client, means.clock),
    "openai": lambda means: HttpAdapter(OpenAIChat(), means.client, means.clock),
}
"""Every wire format, by the name that a provider gives as its `wire_format`."""

OPERATIONS: Mapping[str, Callable[[Means], OperationAdapter]] = {
    "fake": lambda _: FakeOperations(),
    "openai": lambda means: HttpOperations(OPENAI_OPERATIONS, means.client, means.clock),
}
"""What each wire format can do besides conversations; nothing where it is missing."""


class Providers:
    """Makes adapters, one a wire format, and holds their connections."""

    def __init__(self, clock: Clock) -> None:
        self._means = Means(client=HttpClient(), clock=clock)
        self._adapters: dict[str, ChatAdapter] = {}
        self._operations: dict[str, OperationAdapter] = {}

    def adapter(self, endpoint: Endpoint) -> ChatAdapter:
        """The adapter that speaks the endpoint's wire format. Raises INVALID_FIELD for a format that is not known."""
        name = endpoint.wire_format
        adapter = self._adapters.get(name)
        if adapter is None:
            make = WIRE_FORMATS.get(name)
            if make is None:
                raise invalid_field("provider.wire_format", f"{name!r} is not known; use {', '.join(WIRE_FORMATS)}.")
            adapter = self._adapters[name] = make(self._means)
        return adapter

    def operations(self, endpoint: Endpoint) -> OperationAdapter:
        """What does for the endpoint what is not a conversation."""
        name = endpoint.wire_format
        adapter = self._operations.get(name)
        if adapter is None:
            make = OPERATIONS.get(name)
            adapter = HttpOperations({}, self._means.client, self._means.clock) if make is None else make(self._means)
            self._operations[name] = adapter
        return adapter

    async def close(self) -> None:
        """Closes all connections. Calls under way fail."""
        await self._means.client.close()
