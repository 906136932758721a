"""Authorize: the full name of what is asked for, and whether the caller may use it."""

from collections.abc import AsyncIterator, Sequence

import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import InvalidArgument, PermissionDenied
from llmgateway_server.pipeline.authorize import authorize
from llmgateway_server.pipeline.call import Call
from tests.support.calls import call_of, principal, question
from tests.support.system import StillClock


def ask(model: str, *patterns: Sequence[str]) -> str:
    """The model that the next stage sees."""
    reached: list[str] = []

    async def nothing() -> AsyncIterator[ChatEvent]:
        return
        yield ChatEvent()

    def next_handler(call: Call) -> AsyncIterator[ChatEvent]:
        reached.append(call.request.model)
        return nothing()

    authorize(call_of(question(model=model), StillClock(), caller=principal(*patterns)), next_handler)
    return reached[0]


@pytest.mark.parametrize(
    ("asked", "full"),
    [
        ("fake/echo", "models/fake/echo"),
        ("models/fake/echo", "models/fake/echo"),
        ("gpt", "models/gpt"),
        ("routes/default", "routes/default"),
        ("route/default", "routes/default"),
        ("useCases/chat", "useCases/chat"),
        ("usecase/chat", "useCases/chat"),
        ("models/", "models/models/"),
        ("routes", "models/routes"),
        ("模型/a", "models/模型/a"),
    ],
)
def test_a_bare_name_is_a_model(asked: str, full: str) -> None:
    assert ask(asked) == full


@pytest.mark.parametrize("asked", ["", "a" * 257, "a\nb", "a\x00", "a\u202eb", "\ud7ff\ue000"])
def test_a_name_that_cannot_be_one_is_refused(asked: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        ask(asked)
    assert refusal.value.field == "model"


@pytest.mark.parametrize(
    ("model", "patterns"),
    [
        ("fake/echo", [["models/fake/*"]]),
        ("fake/echo", [[], ["models/fake/echo"]]),
        ("fake/echo", [["*"], ["models/*/echo", "routes/*"]]),
        ("routes/a", [["routes/*"]]),
    ],
)
def test_allowed_models_pass(model: str, patterns: list[list[str]]) -> None:
    ask(model, *patterns)


@pytest.mark.parametrize(
    ("model", "patterns"),
    [
        ("fake/echo", [["models/openai/*"]]),
        ("fake/echo", [["models/fake/*"], ["models/openai/*"]]),
        ("routes/a", [["models/*"]]),
        ("useCases/a", [["routes/*"]]),
        ("fake/echo", [["fake/echo"]]),
    ],
)
def test_other_models_are_refused(model: str, patterns: list[list[str]]) -> None:
    with pytest.raises(PermissionDenied) as refusal:
        ask(model, *patterns)
    assert refusal.value.reason == ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED
    assert refusal.value.field == "model"
    assert refusal.value.metadata["model"].endswith(model)
