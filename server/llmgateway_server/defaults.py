"""What a gateway serves before anybody tells it what to: the fake provider, and providers whose keys are at hand."""

from __future__ import annotations

from typing import Any

FIRST_RESOURCES: dict[str, list[dict[str, Any]]] = {
    "providers": [
        {
            "name": "providers/fake",
            "display_name": "Fake",
            "wire_format": "fake",
        }
    ],
    "models": [
        {
            "name": "models/fake/echo",
            "display_name": "Echo",
            "description": "Answers with the last user message, a word a chunk when streamed. It costs nothing.",
            "owner": "llm-gateway",
            "price": {"input": 0, "output": 0},
        }
    ],
    "deployments": [
        {
            "name": "deployments/fake-echo",
            "model": "models/fake/echo",
            "provider": "providers/fake",
            "upstream_model": "fake/echo",
        }
    ],
}
"""Created once, in an empty database. Whoever deletes them is rid of them. `Any`: proto JSON."""


OWN_DIALECTS: dict[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "cohere": "CO_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
"""Wire formats that one vendor speaks, which has their name, with the variable that usually holds its key."""


def provider_from_environment(provider_id: str, variable: str) -> dict[str, Any]:
    """A provider whose key is in the environment; its models are served as `{provider}/{model}`.

    `provider_id` is one of `OWN_DIALECTS`, or the name of a vendor of OpenAI's dialect. `Any`: proto JSON.
    """
    return {
        "name": f"providers/{provider_id}",
        "wire_format": provider_id if provider_id in OWN_DIALECTS else "openai",
        "vendor": provider_id,
        "credential": f"env:{variable}",
        "serves_unlisted_models": True,
    }
