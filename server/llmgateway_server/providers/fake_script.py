"""What the fake provider is told to do: a script, as JSON, checked before it is followed."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import invalid_field
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.failures import REASONS

WIRE_FORMAT = "fake"
"""The name of the wire format, in `provider_options`."""

_MAX_MILLIS = 3_600_000

Millis = Annotated[float, Field(ge=0, le=_MAX_MILLIS)]
_COUNTS = frozenset(field.name for field in Usage.DESCRIPTOR.fields) - {"estimated"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCall(_Strict):
    """A tool call to make."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] | str = Field(default_factory=dict[str, Any])
    """An object, or text as it is: broken JSON too, or the input of a custom tool."""
    id: str = ""
    """Made from the request and the place of the call when empty."""
    custom: bool = False


class ScriptedFailure(_Strict):
    """A failure, and when it happens."""

    kind: Literal["error", "hang", "truncate"] = "error"
    """`error` fails for a reason; `hang` says nothing more until time runs out; `truncate` ends without an end."""
    reason: str = "PROVIDER_UNAVAILABLE"
    """For `error`: an error reason that a provider may cause."""
    after_chunks: int = Field(default=0, ge=0)
    """How many chunks are sent before it; 0 fails before the answer begins. More chunks than there are: at the end."""
    message: str = "the fake provider fails as its script says."
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds."""
    retryable: bool | None = None

    @field_validator("reason")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in REASONS:
            raise ValueError(f"must be one of {', '.join(sorted(REASONS))}")
        return value

    @property
    def error_reason(self) -> ErrorReason:
        """The reason as the protos number it."""
        return cast("ErrorReason", ErrorReason.Value(f"ERROR_REASON_{self.reason}"))


class Script(_Strict):
    """What to answer, at what pace, and where to fail. An empty script echoes."""

    text: str | None = None
    json_value: Any = Field(default=None, alias="json")
    """Any JSON value, answered as text."""
    chunks: int | list[str] | None = None
    """How many pieces a streamed text comes in, or the pieces themselves. Left out: a word each."""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ScriptedCall] = Field(default_factory=list[ScriptedCall])
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, `content_filter`, `pause`, `error` or `other`. Empty: what fits the answer."""
    usage: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict[str, int])
    """Token counts by their names in `Usage`. What is left out is counted in words."""
    report_usage: bool = True
    latency_ms: Millis = 0
    """Before the first event."""
    delay_ms: Millis = 0
    """Before each chunk after the first."""
    tokens_per_second: float = Field(default=0, ge=0, le=1_000_000)
    """A pace instead of a delay; a chunk counts as a token."""
    jitter: float = Field(default=0, ge=0, le=1)
    """How far each wait strays from its length, as a share of it; how it strays follows from the seed."""
    seed: int = 0
    failure: ScriptedFailure | None = None

    @field_validator("chunks")
    @classmethod
    def _some_chunks(cls, value: int | list[str] | None) -> int | list[str] | None:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be 1 or more, or a list of texts")
        return value

    @field_validator("finish_reason")
    @classmethod
    def _known_reason(cls, value: str) -> str:
        if value:
            finish_reason(value)
        return value

    @field_validator("usage")
    @classmethod
    def _known_counts(cls, value: dict[str, int]) -> dict[str, int]:
        if unknown := sorted(value.keys() - _COUNTS):
            raise ValueError(f"does not know {', '.join(unknown)}; use {', '.join(sorted(_COUNTS))}")
        return value

    @model_validator(mode="after")
    def _one_text(self) -> Script:
        given = [self.text is not None, self.json_value is not None, isinstance(self.chunks, list)]
        if sum(given) > 1:
            raise ValueError("give one of text, json and a list of chunks")
        return self

    @property
    def says_something(self) -> bool:
        """Whether it tells what to answer, so that nothing is echoed."""
        return bool(
            self.text is not None
            or self.json_value is not None
            or isinstance(self.chunks, list)
            or self.refusal
            or self.tool_calls
        )


def finish_reason(name: str) -> FinishReason:
    """The finish reason of a name in lower case, such as `stop`. Raises ValueError for a name that is not one."""
    return cast("FinishReason", FinishReason.Value(f"FINISH_REASON_{name.upper()}"))


def script_of(call: ProviderCall) -> Script:
    """The provider's own script, overridden field by field by the request's. Raises INVALID_FIELD for a bad one."""
    own = call.endpoint.script
    asked = call.request.provider_options.get(WIRE_FORMAT, "")
    return _read(own, asked) if own or asked else _ECHO


_ECHO = Script()


@lru_cache(maxsize=256)
def _read(own: str, asked: str) -> Script:
    fields = {**_object("provider.script", own), **_object(f"provider_options.{WIRE_FORMAT}", asked)}
    try:
        return Script.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        field = f"provider_options.{WIRE_FORMAT}" if asked else "provider.script"
        raise invalid_field(f"{field}.{where}" if where else field, f"{first['msg']}.") from error


def _object(field: str, text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise invalid_field(field, "must be a JSON object, as text.")
    return cast("dict[str, Any]", value)
