"""A provider without a network, for trying out and for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import FinishReason, Role, Usage

from llmgateway_server.events import text_of
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.assembly import Assembly


class FakeAdapter:
    """Echoes."""

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        text = next((text_of(m) for m in reversed(call.request.messages) if m.role == Role.ROLE_USER), "")
        assembly = Assembly()
        assembly.start(f"fake-{call.request_id}", call.endpoint.upstream_model, 0)
        words = [w for w in text.split(" ")]
        chunks = [w + (" " if i < len(words) - 1 else "") for i, w in enumerate(words)] if call.stream else [text]
        for chunk in chunks:
            assembly.text(chunk)
            for event in assembly.take():
                yield event
        usage = Usage(
            input_tokens=sum(len(text_of(m).split()) for m in call.request.messages), output_tokens=len(text.split())
        )
        assembly.finish(Finished(finish_reason=FinishReason.FINISH_REASON_STOP, raw_finish_reason="stop", usage=usage))
        for event in assembly.take():
            yield event
