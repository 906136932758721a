"""Settings: what is refused and in which words, what wins over what, and what never shows."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llmgateway_server.settings import (
    CONFIG_VARIABLE,
    Settings,
    SettingsError,
    find_credential,
    is_loopback,
    load,
    provider_variables,
    unknown_variables,
)

ADMIN_KEY = "lgw_" + "k" * 28
CANARY = "CaNaRy-0123456789"

Write = Callable[[str], None]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of a gateway, and is put back afterwards."""
    for name in list(os.environ):
        if name.upper().startswith("LLMGATEWAY_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(CONFIG_VARIABLE, "")  # So that a test that sets it by `load` is undone too.


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the settings file that the environment names."""

    def write_file(text: str) -> None:
        path = tmp_path / "gateway.yaml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))

    return write_file


def problems(**overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(**overrides)
    return str(refusal.value).splitlines()


def test_without_a_word_everything_is_on_loopback() -> None:
    settings = load()
    assert settings.grpc_address == "127.0.0.1:50051"
    assert settings.rest_address == "127.0.0.1:8080"
    assert not settings.separate_admin
    assert settings.edge
    assert settings.admin_key is None
    assert settings.resources == {}


def test_the_environment_wins_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("grpc_address: 127.0.0.1:1\nrest_address: 127.0.0.1:2\nlimits: {metadata_bytes: 8192}\n")
    monkeypatch.setenv("LLMGATEWAY_GRPC_ADDRESS", "127.0.0.1:3")
    monkeypatch.setenv("LLMGATEWAY_LIMITS__STREAMS_PER_CONNECTION", "7")
    settings = load()
    assert settings.grpc_address == "127.0.0.1:3"
    assert settings.rest_address == "127.0.0.1:2"
    assert (settings.limits.metadata_bytes, settings.limits.streams_per_connection) == (8192, 7)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_GRPC_ADDRESS", "127.0.0.1:3")
    assert load(grpc_address="127.0.0.1:4").grpc_address == "127.0.0.1:4"


def test_a_named_file_takes_the_place_of_the_environments(tmp_path: Path, write: Write) -> None:
    write("edge: false")
    other = tmp_path / "other.yaml"
    other.write_text("grpc_address: 127.0.0.1:9")
    settings = load(str(other))
    assert (settings.edge, settings.grpc_address) == (True, "127.0.0.1:9")
    assert os.environ[CONFIG_VARIABLE] == str(other)


def test_settings_do_not_change() -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.edge = False
    with pytest.raises(ValueError, match="frozen"):
        settings.limits.metadata_bytes = 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1",
        ":8080",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:²",
        "a:1:b",
    ],
)
@pytest.mark.parametrize("name", ["grpc_address", "rest_address", "admin_grpc_address", "admin_rest_address"])
def test_an_address_is_host_and_port(name: str, address: str) -> None:
    (problem,) = problems(**{name: address})
    assert problem.startswith(f"{name}: ")


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:1", "[::1]:65535", "gateway.internal:8080"])
def test_addresses_may_be_names_and_numbers(address: str) -> None:
    assert load(grpc_address=address).grpc_address == address


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.8.7:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("127.0.0.1.example.com:1", False),
        ("127.example.com:1", False),
        ("localhost.example.com:1", False),
        ("10.0.0.1:1", False),
        ("192.168.1.1:1", False),
        ("169.254.169.254:1", False),
        ("gateway:1", False),
        ("*:1", False),
    ],
)
def test_only_this_machine_is_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


@pytest.mark.parametrize("name", ["grpc_address", "rest_address"])
def test_admin_moves_apart_when_the_gateway_is_public(name: str) -> None:
    assert load(**{name: "0.0.0.0:9000"}).separate_admin


@pytest.mark.parametrize("name", ["admin_grpc_address", "admin_rest_address"])
def test_admin_is_not_opened_by_accident(name: str) -> None:
    (problem,) = problems(grpc_address="0.0.0.0:1", **{name: "0.0.0.0:2"})
    assert "allow_public_admin" in problem
    assert load(grpc_address="0.0.0.0:1", allow_public_admin=True, **{name: "0.0.0.0:2"}).separate_admin


def test_admins_addresses_do_not_matter_where_they_are_not_used() -> None:
    assert not load(admin_grpc_address="0.0.0.0:2").separate_admin


@pytest.mark.parametrize(
    "key",
    [
        "",
        "lgw_",
        "lgw_" + "k" * 27,
        "k" * 40,
        "LGW_" + "k" * 40,
        "lgw_" + "k" * 27 + " ",
        "lgw_" + "é" * 40,
        " " + ADMIN_KEY,
        "lgw_" + "k" * 509,
        ADMIN_KEY + "\n",
    ],
)
def test_a_weak_admin_key_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_ADMIN_KEY", key)
    (problem,) = problems()
    assert problem.startswith("admin_key: must be 32 to 512 visible ASCII characters")
    assert "kkkk" not in problem


@pytest.mark.parametrize("key", [ADMIN_KEY, "lgw_" + "!~" * 14, "lgw_" + "k" * 508])
def test_a_strong_admin_key_is_taken(key: str) -> None:
    settings = load(admin_key=key)
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == key


def test_secrets_do_not_show() -> None:
    settings = load(admin_key=f"lgw_{CANARY}{CANARY}", database_url=f"postgresql://u:{CANARY}@host/db")
    shown = f"{settings!r} {settings!s} {settings.model_dump()} {settings.model_dump_json()}"
    assert CANARY not in shown


def test_every_problem_is_told_at_once(write: Write) -> None:
    write("grpc_address: nowhere\nlimits: {metadata_bytes: 1, colour: red}\ntimeouts: {idle: 0}\nspeling: 1\n")
    found = problems()
    assert [problem.partition(":")[0] for problem in found] == [
        "grpc_address",
        "limits.metadata_bytes",
        "limits.colour",
        "timeouts.idle",
        "speling",
    ]
    assert found[2] == "limits.colour: there is no such setting"


def test_problems_do_not_quote_what_may_be_secret(write: Write) -> None:
    write(f"admin_key: [{CANARY}]\ndatabase_url: {{a: {CANARY}}}\nlimits: {CANARY}\nedge: {CANARY}\n")
    assert CANARY not in "\n".join(problems())


@pytest.mark.parametrize(
    ("section", "name", "low", "high"),
    [
        ("limits", "rest_body_bytes", 64 * 1024, None),
        ("limits", "message_bytes", None, 512 * 1024 * 1024),
        ("limits", "metadata_bytes", 4096, 65_536),
        ("limits", "streams_per_connection", 1, 100_000),
        ("timeouts", "request_max", None, 86_400),
        ("shutdown", "delay", 0, 600),
        ("shutdown", "grace", 0, 3_600),
        ("keepalive", "interval", 1, 7_200),
        ("keepalive", "timeout", 1, 600),
        ("keepalive", "max_age", 10, 86_400),
        ("keepalive", "max_age_grace", 1, 86_400),
    ],
)
def test_numbers_have_bounds(section: str, name: str, low: int | None, high: int | None) -> None:
    for bound, beyond in ((low, -1), (high, 1)):
        if bound is not None:
            load("", **{section: {name: bound}})
            (problem,) = problems(**{section: {name: bound + beyond}})
            assert problem.startswith(f"{section}.{name}: ")


@pytest.mark.parametrize("name", ["request_default", "request_max", "connect", "first_event", "idle", "total"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon"])
def test_times_are_above_zero(name: str, value: object) -> None:
    assert problems(timeouts={name: value})


def test_a_message_can_carry_what_rest_lets_in() -> None:
    (problem,) = problems(limits={"rest_body_bytes": 10_000_000, "message_bytes": 9_999_999})
    assert problem.startswith("limits: ")


@pytest.mark.parametrize(("section", "value"), [("level", "loud"), ("format", "xml"), ("level", "")])
def test_words_are_those_that_there_are(section: str, value: str) -> None:
    (problem,) = problems(logging={section: value})
    assert problem.startswith(f"logging.{section}: ")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\t- x",
        "%",
        "- a\n- b\n",
        "just text",
        "7",
        "a: *nothing",
        "edge: true\nedge: false",
        "limits: {metadata_bytes: 8192, metadata_bytes: 9000}",
        "[" * 5000,
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_a_file_that_is_not_settings_is_refused_in_a_line(write: Write, text: str) -> None:
    write(f"{text}\n")
    (problem,) = problems()
    assert "gateway.yaml" in problem


def test_a_broken_file_is_not_quoted(write: Write) -> None:
    write(f"edge: true\nadmin_key: {CANARY}: {CANARY}\n")
    (problem,) = problems()
    assert "line 2" in problem
    assert CANARY not in problem


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_an_empty_file_says_nothing(write: Write, text: str) -> None:
    write(text)
    assert load() == Settings()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))
        (problem,) = problems()
        assert str(path) in problem


def test_a_file_of_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"edge: caf\xe9\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    (problem,) = problems()
    assert "UTF-8" in problem


def test_a_variable_that_cannot_be_parsed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_RESOURCES", f"not json {CANARY}")
    (problem,) = problems()
    assert "resources" in problem
    assert CANARY not in problem


def test_resources_come_from_file_and_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("resources:\n  providers:\n  - name: providers/a\n")
    assert load().resources == {"providers": [{"name": "providers/a"}]}
    monkeypatch.setenv("LLMGATEWAY_RESOURCES", '{"providers": []}')
    assert load().resources == {"providers": []}


def test_misspelt_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LLMGATEWAY_GRPC_ADRESS",
        "LLMGATEWAY_LIMITS__METADATA_BYTES",
        "LLMGATEWAY_API_KEY",
        "LLMGATEWAY_X__Y",
    ):
        monkeypatch.setenv(name, "1")
    assert unknown_variables() == ["LLMGATEWAY_GRPC_ADRESS", "LLMGATEWAY_X__Y"]


def test_a_credential_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f"{CANARY}\n")
    assert find_credential("env:SOME_KEY") == CANARY


def test_a_credential_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f" {CANARY}\n")
    assert find_credential(f"file:{path}") == CANARY


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", " ")
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe\x00")
    for reference in ("env:ABSENT", "env:EMPTY", f"file:{empty}", f"file:{binary}", f"file:{tmp_path}", "file:a\x00b"):
        with pytest.raises(LookupError, match=r"the (environment variable|credential file)"):
            find_credential(reference)


@pytest.mark.parametrize("reference", [CANARY, f"vault:{CANARY}", f"{CANARY}:x", ""])
def test_what_is_no_reference_is_not_quoted(reference: str) -> None:
    with pytest.raises(LookupError) as refusal:
        find_credential(reference)
    assert CANARY not in str(refusal.value)


def test_usual_names_of_provider_keys_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"one": "ONE_API_KEY", "two": "TWO_API_KEY"}
    assert provider_variables(usual) == {}
    monkeypatch.setenv("TWO_API_KEY", "x")
    assert provider_variables(usual) == {"two": "TWO_API_KEY"}


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            assert section.__doc__
            for inner, each in section.model_fields.items():
                assert each.description, f"{name}.{inner}"
        else:
            assert field.description, name
