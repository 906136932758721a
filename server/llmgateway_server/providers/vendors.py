"""The vendors that speak OpenAI's chat-completions dialect, one row each: where they are and how they differ.

A vendor that differs from the neutral row in nothing needs no row: a base address is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from llmgateway.v1.content_pb2 import ReasoningEffort
from llmgateway_server.errors import invalid_field
from llmgateway_server.ports.provider import Endpoint


class Knob(Enum):
    """A generation field that a vendor may lack. The value is its name in `Generation`."""

    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    TOP_K = "top_k"
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    SEED = "seed"
    PRESENCE_PENALTY = "presence_penalty"
    FREQUENCY_PENALTY = "frequency_penalty"
    TOP_LOGPROBS = "top_logprobs"
    VERBOSITY = "verbosity"
    SERVICE_TIER = "service_tier"
    MAX_REASONING_TOKENS = "max_reasoning_tokens"
    REASONING_EFFORT = "reasoning_effort"
    LOGPROBS = "logprobs"
    LOGIT_BIAS = "logit_bias"
    PREDICTION = "prediction"


EFFORTS: Mapping[ReasoningEffort, str] = {
    ReasoningEffort.REASONING_EFFORT_NONE: "none",
    ReasoningEffort.REASONING_EFFORT_MINIMAL: "minimal",
    ReasoningEffort.REASONING_EFFORT_LOW: "low",
    ReasoningEffort.REASONING_EFFORT_MEDIUM: "medium",
    ReasoningEffort.REASONING_EFFORT_HIGH: "high",
    ReasoningEffort.REASONING_EFFORT_XHIGH: "xhigh",
    ReasoningEffort.REASONING_EFFORT_MAX: "max",
}
"""The dialect's own words for how much a model thinks."""


class Operation(Enum):
    """What a vendor may have besides chat completions. The value is the path below its base address."""

    EMBEDDINGS = "/embeddings"
    RERANK = "/rerank"
    MODERATIONS = "/moderations"
    TRANSCRIPTIONS = "/audio/transcriptions"
    TRANSLATIONS = "/audio/translations"
    SPEECH = "/audio/speech"
    IMAGES = "/images/generations"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a vendor's servers take, and what they call it."""

    knobs: Mapping[Knob, str]
    """The generation fields that are taken, each with its name on the wire. One that is missing is left out."""
    efforts: Mapping[ReasoningEffort, str] = field(default_factory=lambda: EFFORTS)
    end_user: str = "user"
    """Field that carries the end user's id. Empty means that there is none."""
    developer_role: bool = False
    """Whether developer messages are told apart from system messages."""
    stream_usage: bool = True
    """Whether `stream_options.include_usage` is taken."""
    custom_tools: bool = False
    allowed_tools: bool = False
    """Whether the tool choice can name several tools. Where it cannot, only the named tools are sent."""
    parallel_tool_calls: bool = True
    """Whether parallel tool calls can be switched on and off."""
    reasoning_field: str = ""
    """Field of an assistant message that carries its reasoning back. Empty means that reasoning is not sent back."""
    replayed: frozenset[str] = frozenset({"audio", "extra_content", "reasoning_details"})
    """Vendor fields of an answer that are sent back with it in the next turn. Others are kept for the caller alone."""
    max_stops: int = 16
    """The most stop texts that are taken."""
    output_modalities: frozenset[str] = frozenset({"text"})
    dimensions: str = "dimensions"
    """Field that says how long the vectors of embeddings are to be. Empty means that there is none."""
    base64_embeddings: bool = False
    """Whether vectors can be had as base64, which is read five times as fast as numbers."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row of the table."""

    name: str
    profile: Profile
    base_url: str = ""
    """Where the vendor's API is. Empty means that the provider must say it."""
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    operations: frozenset[Operation] = frozenset(Operation)
    """What it has besides chat completions."""


_OPENAI = Profile(
    knobs={
        Knob.TEMPERATURE: "temperature",
        Knob.TOP_P: "top_p",
        Knob.MAX_OUTPUT_TOKENS: "max_completion_tokens",
        Knob.SEED: "seed",
        Knob.PRESENCE_PENALTY: "presence_penalty",
        Knob.FREQUENCY_PENALTY: "frequency_penalty",
        Knob.LOGPROBS: "logprobs",
        Knob.TOP_LOGPROBS: "top_logprobs",
        Knob.REASONING_EFFORT: "reasoning_effort",
        Knob.LOGIT_BIAS: "logit_bias",
        Knob.VERBOSITY: "verbosity",
        Knob.SERVICE_TIER: "service_tier",
        Knob.PREDICTION: "prediction",
    },
    end_user="safety_identifier",
    developer_role=True,
    custom_tools=True,
    allowed_tools=True,
    max_stops=4,
    output_modalities=frozenset({"text", "audio"}),
    base64_embeddings=True,
)

_COMPATIBLE = Profile(
    knobs={
        Knob.TEMPERATURE: "temperature",
        Knob.TOP_P: "top_p",
        # Not OpenAI's own, but vLLM, llama.cpp and their kin take it, and the others ignore it.
        Knob.TOP_K: "top_k",
        Knob.MAX_OUTPUT_TOKENS: "max_tokens",
        Knob.SEED: "seed",
        Knob.PRESENCE_PENALTY: "presence_penalty",
        Knob.FREQUENCY_PENALTY: "frequency_penalty",
        Knob.LOGPROBS: "logprobs",
        Knob.TOP_LOGPROBS: "top_logprobs",
        Knob.REASONING_EFFORT: "reasoning_effort",
        Knob.LOGIT_BIAS: "logit_bias",
    },
)

COMPATIBLE = Vendor(name="openai-compatible", profile=_COMPATIBLE)
"""Any server that speaks the dialect: vLLM, llama.cpp, Ollama's `/v1`, LM Studio and so on."""

OPENAI = Vendor(
    name="openai",
    profile=_OPENAI,
    base_url="https://api.openai.com/v1",
    operations=frozenset(Operation) - {Operation.RERANK},
)

VENDORS: Mapping[str, Vendor] = {vendor.name: vendor for vendor in (OPENAI, COMPATIBLE)}
"""Every vendor, by its name."""


def vendor_of(endpoint: Endpoint) -> Vendor:
    """The vendor of an endpoint: the one it names; else OpenAI itself, or for another base address the neutral one.

    Raises INVALID_FIELD for a name that is not in the table, and for a vendor that needs a base address and has none.
    """
    if not endpoint.vendor:
        return COMPATIBLE if endpoint.base_url and endpoint.base_url != OPENAI.base_url else OPENAI
    vendor = VENDORS.get(endpoint.vendor)
    if vendor is None:
        raise invalid_field("provider.vendor", f"{endpoint.vendor!r} is not known; use one of {', '.join(VENDORS)}.")
    if not (endpoint.base_url or vendor.base_url):
        raise invalid_field("provider.base_url", f"set it; the vendor {vendor.name!r} has no address of its own.")
    return vendor
