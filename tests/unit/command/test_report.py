"""What the command shows, and how it ends."""

import pytest
import typer

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.command.report import Mistake, dollars, one_line, show_table, shown
from llmgateway_server.errors import GatewayError, Unavailable, not_found


class OtherMistake(Exception):
    """A mistake of another kind."""


UNAVAILABLE = Unavailable(ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE, "the database is away; try again.")


@pytest.mark.parametrize(
    ("raised", "written", "code"),
    [
        (Mistake("do better"), ["error: do better"], 2),
        (Mistake("one\ntwo"), ["error: one", "error: two"], 2),
        (
            not_found("a\nb"),
            [r"error: RESOURCE_NOT_FOUND: 'a\nb' does not exist; check the name, or list what there is."],
            2,
        ),
        (UNAVAILABLE, ["error: STORAGE_UNAVAILABLE: the database is away; try again."], 1),
        (
            ExceptionGroup("", [OtherMistake("one"), ExceptionGroup("", [Mistake("two")])]),
            ["error: one", "error: two"],
            2,
        ),
        (
            ExceptionGroup("", [UNAVAILABLE, Mistake("two")]),
            [f"error: STORAGE_UNAVAILABLE: {UNAVAILABLE.message}", "error: two"],
            2,
        ),
        (Mistake("\x1b[31mred\x07"), ["error: �[31mred�"], 2),
    ],
)
def test_a_mistake_is_a_line_on_standard_error(
    raised: Exception, written: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, one_line(Mistake, OtherMistake, GatewayError):
        raise raised
    out, err = capsys.readouterr()
    assert (out, err.splitlines(), ended.value.exit_code) == ("", written, code)


def test_a_request_that_failed_can_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    error = GatewayError(ErrorReason.ERROR_REASON_UNSPECIFIED, "it broke", metadata={"request_id": "r-1"})
    with pytest.raises(typer.Exit), one_line(GatewayError):
        raise error
    assert capsys.readouterr().err == "error: it broke (request r-1)\n"


@pytest.mark.parametrize(
    "raised", [ValueError("a bug"), KeyboardInterrupt(), ExceptionGroup("", [ValueError("a bug")])]
)
def test_what_is_no_mistake_passes(raised: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(raised)), one_line(Mistake):
        raise raised
    assert capsys.readouterr().err == ""


def test_a_table_is_lines_of_cells_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("A", "B"), [("one", "two\tthree\n"), ("x" * 200, "")])
    assert capsys.readouterr().out == f"A\tB\none\ttwo�three�\n{'x' * 200}\t\n"


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (150_000_000, "$0.15"),
        (12_000, "$0.000012"),
        (2_500_000_000, "$2.50"),
        (-1_010_000_000, "-$1.01"),
    ],
)
def test_money_is_exact(nanos: int, text: str) -> None:
    assert dollars(nanos) == text


def test_nothing_shown_steers_a_terminal() -> None:
    assert shown("a\x1b]0;b\x9b\x00\r\n\tc") == "a�]0;b�����c"
    assert shown("a\x1b\r\n\tc", lines=True) == "a��\n\tc"
