"""What the control plane asks of the adapters before it keeps a provider."""

import pytest

from llmgateway.v1.model_service_pb2 import Provider
from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.acceptance import accept


@pytest.mark.parametrize(
    "provider",
    [
        Provider(name="providers/a", wire_format="fake"),
        Provider(name="providers/a", wire_format="fake", script='{"text": "hi", "latency_ms": 5}'),
        Provider(name="providers/a", wire_format="openai", vendor="openai"),
        Provider(name="providers/a", wire_format="openai", base_url="http://127.0.0.1:9/v1"),
        Provider(name="providers/a", wire_format="anthropic", vendor="anthropic"),
    ],
)
def test_what_could_be_called_is_accepted(provider: Provider) -> None:
    accept(provider)


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        (Provider(wire_format="fake", script='{"txt": "hi"}'), "provider.script.txt"),
        (Provider(wire_format="fake", script='{"delay_ms": -1}'), "provider.script.delay_ms"),
        (Provider(wire_format="openai", vendor="nobody"), "provider.vendor"),
        (Provider(wire_format="openai", vendor="openai-compatible"), "provider.base_url"),
        (Provider(wire_format="anthropic", vendor="nobody"), "provider.vendor"),
    ],
)
def test_what_could_not_is_refused_with_its_field(provider: Provider, field: str) -> None:
    with pytest.raises(GatewayError) as caught:
        accept(provider)
    assert caught.value.field == field
