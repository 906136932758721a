"""Logs: one event a line, in the right shape, with nothing in it that looks like a secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.telemetry.logs import JsonFormatter, TextFormatter, configure, redact

CANARY = "CaNaRy0123456789abcdef"


def record(message: str, *arguments: object, exception: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    info = (type(exception), exception, exception.__traceback__) if exception else None
    made = logging.LogRecord("gateway.test", logging.WARNING, "file.py", 7, message, arguments, info)
    vars(made).update(extra)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    return json.loads(line)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    "text",
    [
        f"the key lgw_{CANARY} is wrong",
        f"the key lgw_abc.{CANARY}!x is wrong",
        f"KEY_lgw_{CANARY}",
        f"'lgw_{CANARY}'",
        f"sk-{CANARY}",
        f"sk-proj-{CANARY}_x-y",
        f"gsk_{CANARY}",
        f"xai-{CANARY}",
        f"AIza{CANARY}",
        f"eyJhbGciOiJIUzI1.{CANARY}.{CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization: bearer  {CANARY}!?",
        f"BASIC {CANARY}=",
        f"postgresql://user:{CANARY}@host/db",
        f"postgresql+asyncpg://user:p@{CANARY}@host:5432/db?x=1",
        f"redis://:{CANARY}@host",
        f"https://host/v1/models?alt=sse&key={CANARY}&x=1",
        f"https://host/v1?api_key={CANARY}",
        f"https://host/v1?Api-Key={CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_struck_out(text: str) -> None:
    assert CANARY not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "send 'authorization: Bearer lgw_...'.",
        "the model 'models/fake/echo' does not exist; list the models with GET /v1/models.",
        "http://127.0.0.1:8080/v1",
        "a task-like-this-one is no key",
        "key=value",
        "tenants/acme/apiKeys/laptop",
        "https://host/v1?page=2&keys=3",
    ],
)
def test_what_does_not_is_left(text: str) -> None:
    assert redact(text) == text


def test_what_is_around_a_secret_stays() -> None:
    assert redact("Bearer abcdefgh12 to postgresql://u:secret@host/db") == "Bearer *** to postgresql://u:***@host/db"


def test_json_has_the_event_and_its_fields() -> None:
    event = as_json(record("a call failed", request_id="r1", attempts=3, share=0.5, ok=False, nothing=None))
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "warning",
        "logger": "gateway.test",
        "event": "a call failed",
        "request_id": "r1",
        "attempts": 3,
        "share": 0.5,
        "ok": False,
        "nothing": None,
    }


def test_json_holds_no_secret_wherever_it_was_put() -> None:
    made = record(
        "with %s",
        f"lgw_{CANARY}",
        exception=raised(RuntimeError(f"upstream refused sk-{CANARY}")),
        header=f"Bearer {CANARY}",
        nested={"url": f"redis://:{CANARY}@host"},
        listed=[f"sk-{CANARY}"],
    )
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(made)
        assert CANARY not in line
        assert "***" in line


def test_an_exception_comes_with_its_traceback() -> None:
    event = as_json(record("failed", exception=raised(RuntimeError("bug"))))
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("RuntimeError: bug")


def test_fields_cannot_pass_for_the_event() -> None:
    event = as_json(record("real", event="forged", level="debug", time="never", logger="other"))
    assert (event["event"], event["level"], event["logger"]) == ("real", "warning", "gateway.test")
    assert event["time"] != "never"


@pytest.mark.parametrize(
    "value", [2**63, -(2**64), 2**4000 % 10**900, float("inf"), float("nan"), b"\xff", object(), "\ud800"]
)
def test_any_value_makes_a_line(value: object) -> None:
    assert "value" in as_json(record("odd", value=value))
    assert "value=" in TextFormatter().format(record("odd", value=value))


def test_long_texts_are_cut() -> None:
    made = record("x" * 100_000, field="y" * 100_000, exception=raised(RuntimeError("z" * 100_000)))
    assert len(JsonFormatter().format(made)) < 30_000


_INJECTION = "ok\r\n12:00:00 error   forged \x1b[31m\u2028\x85\x00"


def test_a_text_line_stays_one_line() -> None:
    line = TextFormatter().format(record(_INJECTION, field=_INJECTION))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "\\r\\n" in line


def test_an_exception_cannot_pass_for_an_event() -> None:
    lines = TextFormatter().format(record("failed", exception=raised(RuntimeError(_INJECTION)))).splitlines()
    assert all(line.startswith("  ") and line.isprintable() for line in lines[1:])


def test_a_text_line_reads_well() -> None:
    line = TextFormatter().format(record("a call failed", request_id="r1", model="模型"))
    assert line.endswith("warning a call failed request_id=r1 model=模型")


@given(st.text(), st.text())
def test_any_text_makes_one_line(message: str, value: str) -> None:
    made = record("%s", message, value=value)
    assert as_json(made)["event"] is not None
    assert len(TextFormatter().format(made).splitlines()) == 1


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("json", _Terminal(), True),
        ("text", io.StringIO(), False),
        ("auto", io.StringIO(), True),
        ("auto", _Terminal(), False),
    ],
)
def test_the_form_follows_the_setting(
    form: str, stream: io.StringIO, is_json: bool, root_logger: logging.Logger
) -> None:
    configure("info", form, stream)
    logging.getLogger("gateway.test").info("hello", extra={"field": 1})
    logging.getLogger("gateway.test").debug("not this")
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("{") is is_json
    assert "hello" in line
    assert root_logger.level == logging.INFO


def test_bytes_that_a_caller_sent_as_metadata_are_not_quoted(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    grpc_log = logging.getLogger("grpc._cython.cygrpc")
    grpc_log.error("Invalid encoding on %s", b"a prompt \xff")
    grpc_log.error("something else")
    (line,) = stream.getvalue().splitlines()
    assert "something else" in line
    assert root_logger.level == logging.INFO


def test_without_a_stream_it_is_standard_error(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning", "json")
    logging.getLogger("gateway.test").warning("hello")
    assert sys.stderr is not sys.stdout
    captured = capsys.readouterr()
    assert "hello" in captured.err
    assert captured.out == ""
    assert root_logger.level == logging.WARNING
