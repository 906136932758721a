"""Whether a provider could be called as it is described: what the control plane asks before it keeps one."""

from __future__ import annotations

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.model_service_pb2 import Provider
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall
from llmgateway_server.providers import anthropic, fake_script
from llmgateway_server.providers.vendors import OPENAI, vendor_of


def accept(provider: Provider) -> None:
    """Raises INVALID_FIELD for a vendor that nobody knows or that lacks an address, and for a script with faults."""
    endpoint = Endpoint(
        deployment="",
        provider=provider.name,
        wire_format=provider.wire_format,
        upstream_model="",
        base_url=provider.base_url,
        credential=Credential(),
        vendor=provider.vendor,
        script=provider.script,
    )
    if provider.wire_format == fake_script.WIRE_FORMAT:
        fake_script.script_of(ProviderCall(ChatRequest(), endpoint, stream=False, deadline=0.0))
    if provider.vendor and provider.wire_format == OPENAI.name:
        vendor_of(endpoint)
    if provider.wire_format == anthropic.WIRE_FORMAT:
        anthropic.check_vendor(endpoint)
