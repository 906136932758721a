"""A conversation as a terminal has it: what was said, how an answer is written, and what is said of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import typer

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import FinishReason, Message, Part, Role
from llmgateway_server.command.report import Mistake, dollars, note, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta

_SAID: Final = ("text", "refusal")


class Conversation:
    """What was said so far, and to whom."""

    def __init__(self, model: str, system: str = "") -> None:
        self._model = _utf8(model, "the model's name")
        self._messages = [_said(Role.ROLE_SYSTEM, _utf8(system, "--system"))] if system else []

    def request(self, text: str) -> ChatRequest:
        """The conversation, with one more thing said. Raises `Mistake` for what no message can hold."""
        turn = _said(Role.ROLE_USER, _utf8(text, "the message"))
        return ChatRequest(model=self._model, messages=[*self._messages, turn])

    def keep(self, request: ChatRequest, answer: Message) -> None:
        """Goes on from an answer."""
        self._messages = [*request.messages, answer]


class Screen:
    """Writes one answer: to a terminal without anything that could steer it, elsewhere as it is.

    Standard output has what the model says, and nothing else. What it thinks is for whoever watches, and what it calls
    or draws is named.
    """

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._mid_line = False
        self._thinking = False
        self._named: set[int] = set()

    def write(self, delta: PartDelta) -> None:
        """Writes the next piece."""
        kind = delta.WhichOneof("delta")
        if kind is None:
            return
        if kind == "reasoning":
            self._think(delta.reasoning)
            return
        self._stop_thinking()
        if kind in _SAID:
            self._say(delta.text or delta.refusal)
        elif delta.part_index not in self._named:
            self._named.add(delta.part_index)
            self._break_line()
            note(f"[{delta.tool_call.name}(...)]" if kind == "tool_call" else f"[{kind}]")

    def end(self) -> None:
        """Ends the last line."""
        self._stop_thinking()
        if self._mid_line:
            typer.echo()
            self._mid_line = False

    def _say(self, text: str) -> None:
        sys.stdout.write(shown(text, lines=True) if self._terminal else text)
        sys.stdout.flush()
        self._mid_line = not text.endswith("\n")

    def _think(self, text: str) -> None:
        if sys.stderr.isatty():
            self._break_line()
            note(text, end="")
            self._thinking = True

    def _stop_thinking(self) -> None:
        if self._thinking:
            note("")
            self._thinking = False

    def _break_line(self) -> None:
        """Begins a new line on a terminal, which both outputs share."""
        if self._terminal and self._mid_line:
            typer.echo()
            self._mid_line = False


def summary(answer: ChatResponse, seconds: float) -> Iterator[str]:
    """What to know of an answer besides itself: its warnings, then what served it and what it took."""
    for warning in answer.warnings:
        yield f"{warning.field}: {warning.message}" if warning.field else warning.message
    usage = answer.usage
    facts = [
        f"{answer.upstream_model} by {answer.provider.removeprefix('providers/')}",
        f"{'about ' if usage.estimated else ''}{usage.input_tokens} tokens in, {usage.output_tokens} out",
        dollars(answer.cost_nanos) if answer.HasField("cost_nanos") else "no price known",
        f"{seconds:.2f} s",
    ]
    if len(answer.attempts) > 1:
        facts.append(f"{len(answer.attempts)} attempts")
    if answer.finish_reason != FinishReason.FINISH_REASON_STOP:
        facts.append(f"ended by {FinishReason.Name(answer.finish_reason).removeprefix('FINISH_REASON_')}")
    yield " | ".join(facts)


def _said(role: Role, text: str) -> Message:
    return Message(role=role, parts=[Part(text=text)])


def _utf8(text: str, what: str) -> str:
    """The text, unless it came from bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Mistake(f"{what} is not UTF-8 text") from error
    return text
