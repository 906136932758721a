"""What is said, what is written of an answer, and what is told of it."""

import sys

import pytest

from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta, ToolCallDelta
from llmgateway.v1.content_pb2 import FinishReason, Media, Message, Part, Role, Usage
from llmgateway.v1.content_pb2 import Warning as Caution
from llmgateway_server.command.conversation import Conversation, Screen, summary
from llmgateway_server.command.report import Mistake

ANSWER = Message(role=Role.ROLE_ASSISTANT, parts=[Part(text="Good, and you?")])


def turns(conversation: Conversation, text: str) -> list[tuple[str, str]]:
    request = conversation.request(text)
    assert request.model == "acme/large"
    return [(Role.Name(turn.role), turn.parts[0].text) for turn in request.messages]


def test_a_conversation_goes_on_from_what_was_kept() -> None:
    conversation = Conversation("acme/large", "Be brief.")
    assert turns(conversation, "forgotten") == [("ROLE_SYSTEM", "Be brief."), ("ROLE_USER", "forgotten")]
    conversation.keep(conversation.request("How are you?"), ANSWER)
    assert turns(conversation, "Well.") == [
        ("ROLE_SYSTEM", "Be brief."),
        ("ROLE_USER", "How are you?"),
        ("ROLE_ASSISTANT", "Good, and you?"),
        ("ROLE_USER", "Well."),
    ]


def test_without_instructions_there_are_none() -> None:
    assert turns(Conversation("acme/large"), "Hi") == [("ROLE_USER", "Hi")]


def test_bytes_that_are_no_text_are_a_mistake() -> None:
    with pytest.raises(Mistake, match="--system is not UTF-8 text"):
        Conversation("acme/large", "\udcff")
    with pytest.raises(Mistake, match="the message is not UTF-8 text"):
        Conversation("acme/large").request("\udcff")


def write(*deltas: PartDelta) -> None:
    screen = Screen()
    for delta in deltas:
        screen.write(delta)
    screen.end()


DELTAS = (
    PartDelta(reasoning="Let me "),
    PartDelta(reasoning="think."),
    PartDelta(part_index=1, text="Red: "),
    PartDelta(part_index=1, text="\x1b[31m"),
    PartDelta(part_index=1),
    PartDelta(part_index=2, tool_call=ToolCallDelta(id="1", name="clock")),
    PartDelta(part_index=2, tool_call=ToolCallDelta(arguments="{}")),
    PartDelta(part_index=3, audio=Media(data=b"1")),
    PartDelta(part_index=4, refusal="No."),
)


def test_elsewhere_an_answer_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write(*DELTAS)
    assert capsys.readouterr() == ("Red: \x1b[31mNo.\n", "[clock(...)]\n[audio]\n")


def test_a_terminal_is_not_steered_and_shows_what_the_model_thinks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    write(*DELTAS)
    assert capsys.readouterr() == ("Red: �[31m\nNo.\n", "Let me think.\n[clock(...)]\n[audio]\n")


def test_an_answer_ends_with_one_line_break(capsys: pytest.CaptureFixture[str]) -> None:
    write(PartDelta(text="a\n"))
    write()
    assert capsys.readouterr() == ("a\n", "")


def test_an_answer_is_summed_up_in_a_line() -> None:
    answer = ChatResponse(
        upstream_model="large-1",
        provider="providers/acme",
        usage=Usage(input_tokens=1234, output_tokens=5),
        cost_nanos=12_000,
        finish_reason=FinishReason.FINISH_REASON_STOP,
    )
    assert list(summary(answer, 1.234)) == ["large-1 by acme | 1234 tokens in, 5 out | $0.000012 | 1.23 s"]


def test_what_is_out_of_the_ordinary_is_said() -> None:
    answer = ChatResponse(
        upstream_model="large-1",
        provider="providers/acme",
        usage=Usage(estimated=True),
        finish_reason=FinishReason.FINISH_REASON_LENGTH,
        warnings=[Caution(field="generation.seed", message="was left out."), Caution(message="Beware.")],
    )
    answer.attempts.add()
    answer.attempts.add()
    assert list(summary(answer, 0)) == [
        "generation.seed: was left out.",
        "Beware.",
        "large-1 by acme | about 0 tokens in, 0 out | no price known | 0.00 s | 2 attempts | ended by LENGTH",
    ]
