"""The vendors that speak OpenAI's chat-completions dialect, one row each: where they are and how they differ.

A vendor that differs from the neutral row in nothing needs no row: a base address is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    tools: bool = True
    """Whether tools are taken."""
    json_schema: bool = True
    """Whether answers can be had by a schema. Where they cannot, JSON of any shape is asked for."""
    call_id_characters: int = 0
    """How many letters and digits the id of a tool call must have. Zero means that any id is taken."""
    reasoning_with_calls: bool = False
    """Whether reasoning is sent back only with the tool calls that it led to."""
    reasoning_beside_output: bool = False
    """Whether reasoning tokens are counted beside those of the answer rather than among them."""
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
    variable: str = ""
    """The environment variable that usually holds the key. Empty means that there is none of its own."""
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
    variable="OPENAI_API_KEY",
    operations=frozenset(Operation) - {Operation.RERANK},
)


def _without(*missing: Knob, **renamed: str) -> Mapping[Knob, str]:
    """The knobs of a compatible server but for the missing ones; others are renamed, by their names in `Knob`."""
    names = {Knob[name.upper()]: wire for name, wire in renamed.items()}
    return {knob: name for knob, name in {**_COMPATIBLE.knobs, **names}.items() if knob not in missing}


_LOGPROBS = (Knob.LOGPROBS, Knob.TOP_LOGPROBS, Knob.LOGIT_BIAS)
_PENALTIES = (Knob.PRESENCE_PENALTY, Knob.FREQUENCY_PENALTY)
_NOTHING: frozenset[Operation] = frozenset()
_VECTORS = frozenset({Operation.EMBEDDINGS})
_SEARCH = frozenset({Operation.EMBEDDINGS, Operation.RERANK})
_HEARING = frozenset({Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
_LOW_TO_HIGH: Mapping[ReasoningEffort, str] = {
    effort: EFFORTS[effort]
    for effort in (
        ReasoningEffort.REASONING_EFFORT_LOW,
        ReasoningEffort.REASONING_EFFORT_MEDIUM,
        ReasoningEffort.REASONING_EFFORT_HIGH,
    )
}

_HOSTED = (
    Vendor(
        name="groq",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(*_LOGPROBS, Knob.TOP_K, service_tier="service_tier"),
            efforts={ReasoningEffort.REASONING_EFFORT_NONE: "none", **_LOW_TO_HIGH},
        ),
        base_url="https://api.groq.com/openai/v1",
        variable="GROQ_API_KEY",
        operations=_HEARING | {Operation.SPEECH},
    ),
    Vendor(
        name="deepseek",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(Knob.TOP_K, Knob.SEED, Knob.LOGIT_BIAS),
            json_schema=False,
            # A turn with tool calls is refused without its reasoning; with others it is only ballast.
            reasoning_field="reasoning_content",
            reasoning_with_calls=True,
        ),
        base_url="https://api.deepseek.com/v1",
        variable="DEEPSEEK_API_KEY",
        operations=_NOTHING,
    ),
    Vendor(
        name="openrouter",
        profile=replace(_COMPATIBLE, knobs=_without(verbosity="verbosity")),
        base_url="https://openrouter.ai/api/v1",
        variable="OPENROUTER_API_KEY",
        operations=_VECTORS,
    ),
    Vendor(
        name="mistral",
        # It refuses every field that it does not know.
        profile=replace(
            _COMPATIBLE,
            knobs=_without(*_LOGPROBS, Knob.TOP_K, seed="random_seed", prediction="prediction"),
            end_user="",
            stream_usage=False,
            call_id_characters=9,
            dimensions="output_dimension",
        ),
        base_url="https://api.mistral.ai/v1",
        variable="MISTRAL_API_KEY",
        operations=frozenset({Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.TRANSCRIPTIONS}),
    ),
    Vendor(
        name="xai",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(Knob.TOP_K, Knob.LOGIT_BIAS),
            efforts=_LOW_TO_HIGH,
            reasoning_beside_output=True,
        ),
        base_url="https://api.x.ai/v1",
        variable="XAI_API_KEY",
        operations=frozenset({Operation.IMAGES}),
    ),
    Vendor(
        name="together",
        # Its `logprobs` is a number, which says how many.
        profile=replace(_COMPATIBLE, knobs=_without(top_logprobs="logprobs")),
        base_url="https://api.together.ai/v1",
        variable="TOGETHER_API_KEY",
        operations=_SEARCH | _HEARING | {Operation.SPEECH, Operation.IMAGES},
    ),
    Vendor(
        name="fireworks",
        profile=_COMPATIBLE,
        base_url="https://api.fireworks.ai/inference/v1",
        variable="FIREWORKS_API_KEY",
        operations=_SEARCH,
    ),
    Vendor(
        name="perplexity",
        profile=replace(
            _COMPATIBLE, knobs=_without(*_LOGPROBS, Knob.SEED), end_user="", stream_usage=False, tools=False
        ),
        base_url="https://api.perplexity.ai",
        variable="PERPLEXITY_API_KEY",
        operations=_NOTHING,
    ),
    Vendor(
        name="cerebras",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(*_PENALTIES, Knob.TOP_K, Knob.LOGIT_BIAS, max_output_tokens="max_completion_tokens"),
            efforts=_LOW_TO_HIGH,
        ),
        base_url="https://api.cerebras.ai/v1",
        variable="CEREBRAS_API_KEY",
        operations=_NOTHING,
    ),
    Vendor(
        name="sambanova",
        profile=replace(_COMPATIBLE, knobs=_without(*_LOGPROBS, *_PENALTIES, Knob.SEED)),
        base_url="https://api.sambanova.ai/v1",
        variable="SAMBANOVA_API_KEY",
        operations=_VECTORS | _HEARING,
    ),
    Vendor(
        name="nvidia",
        profile=replace(_COMPATIBLE, end_user=""),
        base_url="https://integrate.api.nvidia.com/v1",
        variable="NVIDIA_API_KEY",
        operations=_VECTORS,
    ),
    Vendor(
        name="deepinfra",
        profile=_COMPATIBLE,
        base_url="https://api.deepinfra.com/v1/openai",
        variable="DEEPINFRA_API_KEY",
        operations=_VECTORS | _HEARING | {Operation.SPEECH, Operation.IMAGES},
    ),
    Vendor(
        name="nebius",
        profile=_COMPATIBLE,
        base_url="https://api.tokenfactory.nebius.com/v1",
        variable="NEBIUS_API_KEY",
        operations=_VECTORS | {Operation.IMAGES},
    ),
    Vendor(
        name="novita",
        profile=_COMPATIBLE,
        base_url="https://api.novita.ai/openai/v1",
        variable="NOVITA_API_KEY",
        operations=_SEARCH,
    ),
    Vendor(
        name="moonshot",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(*_LOGPROBS, Knob.TOP_K, Knob.SEED),
            end_user="",
            reasoning_field="reasoning_content",
            reasoning_with_calls=True,
        ),
        base_url="https://api.moonshot.ai/v1",
        variable="MOONSHOT_API_KEY",
        operations=_NOTHING,
    ),
    Vendor(
        name="zhipu",
        profile=replace(
            _COMPATIBLE,
            knobs=_without(*_LOGPROBS, *_PENALTIES, Knob.TOP_K, Knob.SEED),
            end_user="user_id",
            json_schema=False,
        ),
        base_url="https://open.bigmodel.cn/api/paas/v4",
        variable="ZHIPUAI_API_KEY",
        operations=_VECTORS | {Operation.IMAGES},
    ),
    Vendor(
        name="dashscope",
        profile=replace(_COMPATIBLE, knobs=_without(Knob.LOGIT_BIAS), end_user=""),
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        variable="DASHSCOPE_API_KEY",
        operations=_VECTORS,
    ),
    Vendor(
        name="minimax",
        profile=replace(_COMPATIBLE, knobs=_without(*_LOGPROBS, *_PENALTIES, Knob.TOP_K, Knob.SEED), end_user=""),
        base_url="https://api.minimax.io/v1",
        variable="MINIMAX_API_KEY",
        operations=_NOTHING,
    ),
    Vendor(
        # Its key is usually in a variable that build servers set for other ends, so none is looked for.
        name="github-models",
        profile=replace(_COMPATIBLE, knobs=_without(Knob.TOP_K)),
        base_url="https://models.github.ai/inference",
        operations=_VECTORS,
    ),
)
"""Vendors with an address that all of their customers share."""

_OWN_ADDRESS = (
    Vendor(name="databricks", profile=replace(_COMPATIBLE, knobs=_without(Knob.LOGIT_BIAS)), operations=_VECTORS),
    Vendor(
        name="cloudflare",
        profile=replace(_COMPATIBLE, knobs=_without(*_LOGPROBS), end_user=""),
        operations=_VECTORS,
    ),
    Vendor(
        name="inference",
        profile=replace(_COMPATIBLE, reasoning_field="reasoning_content"),
    ),
)
"""Vendors whose address differs with the customer, so that the provider must say it."""

_LOCAL = (
    Vendor(
        name="vllm",
        profile=replace(_COMPATIBLE, reasoning_field="reasoning", base64_embeddings=True),
        base_url="http://127.0.0.1:8000/v1",
        operations=_SEARCH | _HEARING,
    ),
    Vendor(
        name="llama-cpp",
        profile=replace(_COMPATIBLE, reasoning_field="reasoning_content"),
        base_url="http://127.0.0.1:8080/v1",
        operations=_SEARCH,
    ),
    Vendor(
        name="lm-studio",
        profile=replace(_COMPATIBLE, knobs=_without(*_LOGPROBS)),
        base_url="http://127.0.0.1:1234/v1",
        operations=_VECTORS,
    ),
    Vendor(
        name="ollama",
        profile=replace(_COMPATIBLE, knobs=_without(Knob.TOP_K, Knob.LOGIT_BIAS)),
        base_url="http://127.0.0.1:11434/v1",
        operations=_VECTORS,
    ),
)
"""Servers that people run themselves, at the addresses where they listen by themselves."""

VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor for vendor in (OPENAI, COMPATIBLE, *_HOSTED, *_OWN_ADDRESS, *_LOCAL)
}
"""Every vendor, by its name."""

USUAL_VARIABLES: Mapping[str, str] = {vendor.name: vendor.variable for vendor in VENDORS.values() if vendor.variable}
"""The environment variables that usually hold the vendors' keys, by the vendors' names."""


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
