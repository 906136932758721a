"""`config`: every problem at once, and no secret."""

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.command.conftest import Run

CANARY = "CaNaRy0123456789"


def test_no_configuration_is_fine(run: Run) -> None:
    checked = run("config", "check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout == "The configuration is fine: the settings, and 0 resources.\n"


def test_a_file_is_fine(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(
        """
        grpc_address: 127.0.0.1:7000
        resources:
          providers: [{name: providers/local, wire_format: openai, base_url: "http://127.0.0.1:9/v1"}]
          models: [{name: models/local/m}]
          deployments:
            - {name: deployments/m, model: models/local/m, provider: providers/local, upstream_model: m}
            - {name: deployments/e, model: models/fake/echo, provider: providers/fake, upstream_model: fake/echo}
        """
    )
    checked = run("config", "check", "--config", "gateway.yaml")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert checked.stdout == "gateway.yaml is fine: the settings, and 4 resources.\n"
    assert not (folder / "llm-gateway.db").exists()


def test_every_problem_is_named_at_once(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(
        """
        grpc_address: nowhere
        bogus: 1
        limits: {metadata_bytes: 1, bogus: 2}
        resources:
          tenents: []
          providers:
            - {name: providers/a, wire_format: telex}
            - {name: providers/b, wire_format: openai, bogus: 3}
            - {name: providers/c, wire_format: openai}
          models: [{name: models/m, context_window: -5}]
          deployments: [{name: deployments/d, model: models/none, provider: providers/c, upstream_model: m}]
        """
    )
    checked = run("config", "check", "--config", "gateway.yaml")
    assert (checked.exit_code, checked.stdout) == (2, "")
    named = {line.removeprefix("error: ").partition(": ")[0] for line in checked.stderr.splitlines()}
    assert named == {
        "grpc_address",
        "bogus",
        "limits.metadata_bytes",
        "limits.bogus",
        "resources.tenents",
        "resources.providers[0]",
        "resources.providers[1]",
        "resources.models[0]",
        "resources.deployments[0]",
    }
    assert "error: bogus: there is no such setting\n" in checked.stderr
    assert 'resources.providers[1]: Message type "llmgateway.v1.Provider" has no field named "bogus"' in checked.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"grpc_address: [\n", "'gateway.yaml', line 2 is not YAML: "),
        (
            b"resources: {}\nedge: true\nresources: {}\n",
            "'gateway.yaml', line 3 is not YAML: 'resources' is there already",
        ),
        (b"limits: {\n  rest_body_bytes: 65536, rest_body_bytes: 65537}\n", "'gateway.yaml', line 2 is not YAML: "),
        (b"[" * 5000, "'gateway.yaml' is nested too deep"),
        (b"- a list\n", "'gateway.yaml' must have settings by name, such as "),
        (b"\xff\xfe\x00", "'gateway.yaml' is not YAML in UTF-8"),
        (b"resources: 5\n", "resources: "),
        (b"resources: {providers: {name: x}}\n", "resources.providers: "),
        (b"database_url: mysql://u:CaNaRy0123456789@host/db\n", "database_url: 'mysql' is not a database"),
        (None, "cannot read the settings file 'gateway.yaml': No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(run: Run, folder: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (folder / "gateway.yaml").write_bytes(content)
    checked = run("config", "check", "--config", "gateway.yaml")
    assert (checked.exit_code, checked.stdout) == (2, "")
    [line] = checked.stderr.splitlines()
    assert line.startswith(f"error: {problem}")
    assert CANARY not in line


def test_what_may_come_later_is_a_warning(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_GPRC_ADDRESS", "127.0.0.1:7000")
    (folder / "gateway.yaml").write_text(
        "resources: {providers: [{name: providers/a, wire_format: openai, credential: 'env:NOT_SET_HERE'}]}"
    )
    checked = run("config", "check", "--config", "gateway.yaml")
    assert checked.exit_code == 0
    assert checked.stderr.splitlines() == [
        "warning: LLMGATEWAY_GPRC_ADDRESS: there is no such setting",
        "warning: providers/a: the environment variable 'NOT_SET_HERE' is not set",
    ]


@pytest.mark.parametrize("form", [("--json",), ()])
def test_the_settings_in_force_are_shown_without_secrets(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LLMGATEWAY_ADMIN_KEY", f"lgw_{CANARY}{CANARY}")
    monkeypatch.setenv("LLMGATEWAY_LIMITS__METADATA_BYTES", "8192")
    (folder / "gateway.yaml").write_text(
        f"""
        database_url: postgresql://gateway:{CANARY}@db.internal/gateway?sslmode=require&password={CANARY}
        shutdown: {{grace: 5}}
        resources:
          providers:
            - name: providers/a
              wire_format: openai
              credential: env:A_KEY
              base_url: https://user:{CANARY}@example.com/v1
              headers: {{x-team: search, x-token: {CANARY}}}
            - {{name: providers/b, wire_format: openai, credential: {CANARY}}}
            - {{name: providers/c, wire_format: openai, script: "sk-{CANARY}"}}
        """
    )
    shown = run("config", "show", "--config", "gateway.yaml", *form)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert CANARY not in shown.stdout
    values = json.loads(shown.stdout) if form else yaml.safe_load(shown.stdout)
    assert values["database_url"] == "postgresql://gateway:***@db.internal/gateway"
    assert (values["admin_key"], values["limits"]["metadata_bytes"], values["shutdown"]["grace"]) == ("***", 8192, 5)
    [a, b, c] = values["resources"]["providers"]
    assert (a["credential"], b["credential"], c["script"]) == ("env:A_KEY", "***", "***")
    assert (a["base_url"], a["headers"]) == ("https://user:***@example.com/v1", {"x-team": "search", "x-token": "***"})


def test_a_database_url_that_cannot_be_read_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_DATABASE_URL", f"postgresql//gateway:{CANARY}")
    assert json.loads(run("config", "show", "--json").stdout)["database_url"] == "***"


def test_settings_that_cannot_be_used_are_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGATEWAY_ADMIN_KEY", CANARY)
    shown = run("config", "show")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: admin_key: must be ")
    assert CANARY not in shown.stderr
