"""The wire formats under test, each with what it can do. A new one is a row here and a folder of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmgateway_server.ports.provider import Credential, Endpoint
from llmgateway_server.providers.anthropic import AnthropicMessages
from llmgateway_server.providers.cohere import CohereChat
from llmgateway_server.providers.gemini import Gemini
from llmgateway_server.providers.ollama import OllamaChat
from llmgateway_server.providers.openai import OpenAIChat
from llmgateway_server.providers.wire import Framing, WireFormat

CASES = Path(__file__).parent / "cases"
SECRET = "secret-of-the-gateway-0123456789"

BEHAVIOURS = {
    "text": "chat",
    "conversation": "chat",
    "sampling": "chat",
    "ignored_fields": "chat",
    "provider_options": "chat",
    "finish_reasons": "chat",
    "usage": "chat",
    "broken_streams": "chat",
    "failures": "chat",
    "image_input": "image_input",
    "audio_input": "audio_input",
    "file_input": "file_input",
    "tools": "tools",
    "parallel_tools": "tools",
    "tool_results": "tools",
    "tool_choice": "tools",
    "custom_tools": "custom_tools",
    "structured_output": "json_schema",
    "logprobs": "logprobs",
    "reasoning": "reasoning",
    "refusal": "refusal",
    "audio_output": "audio_output",
    "citations": "citations",
    "provider_state": "provider_state",
}
"""What a wire format must show, by the capability that asks for it. Each is a file of cases."""


@dataclass(frozen=True)
class Format:
    """A wire format under test."""

    name: str
    wire: WireFormat
    capabilities: frozenset[str]
    empty_frame: bytes
    """A frame that says nothing, as a part of a stream."""
    base_url: str = "https://provider.example/v1"
    stream_body: Mapping[str, Any] = field(hash=False, default_factory=lambda: {"stream": True})
    """Fields of a body that ask for a stream, where a case does not say otherwise."""

    @property
    def folder(self) -> Path:
        return CASES / self.name

    @property
    def frame_end(self) -> bytes:
        """What ends a frame."""
        return b"\n\n" if self.wire.framing is Framing.SSE else b"\n"

    @property
    def keep_alive(self) -> bytes:
        """Bytes between frames that mean nothing."""
        return b": still here\n\n" if self.wire.framing is Framing.SSE else b"\n"

    def frame(self, data: bytes) -> bytes:
        """A frame of a stream with this payload."""
        return (b"data: " if self.wire.framing is Framing.SSE else b"") + data + self.frame_end

    def endpoint(self, *, base_url: str = "", vendor: str = "", model: str = "model-1") -> Endpoint:
        return Endpoint(
            deployment="deployments/under-test",
            provider="providers/under-test",
            wire_format=self.name,
            upstream_model=model,
            base_url=base_url or self.base_url,
            credential=Credential(SECRET),
            vendor=vendor,
        )


FORMATS = (
    Format(
        name="openai",
        wire=OpenAIChat(),
        capabilities=frozenset(BEHAVIOURS.values()),
        empty_frame=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}\n\n',
        stream_body={"stream": True, "stream_options": {"include_usage": True}},
    ),
    Format(
        name="anthropic",
        wire=AnthropicMessages(),
        capabilities=frozenset(
            [
                "chat",
                "image_input",
                "file_input",
                "tools",
                "json_schema",
                "reasoning",
                "refusal",
                "citations",
                "provider_state",
            ]
        ),
        empty_frame=b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}\n\n',
    ),
    Format(
        name="gemini",
        wire=Gemini(),
        capabilities=frozenset(BEHAVIOURS.values()) - {"custom_tools"},
        empty_frame=b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}\n\n',
        stream_body={},
    ),
    Format(
        name="ollama",
        wire=OllamaChat(),
        capabilities=frozenset(["chat", "image_input", "tools", "json_schema", "logprobs", "reasoning"]),
        empty_frame=b'{"model":"m","message":{"role":"assistant","content":""},"done":false}\n',
    ),
    Format(
        name="cohere",
        wire=CohereChat(),
        capabilities=frozenset(["chat", "image_input", "tools", "json_schema", "logprobs", "reasoning", "citations"]),
        empty_frame=b'data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":""}}}}\n\n',
    ),
)
