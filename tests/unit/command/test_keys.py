"""`keys` on the database."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.command.conftest import Run

pytestmark = pytest.mark.usefixtures("started")


def test_a_secret_is_shown_once(run: Run) -> None:
    made = run("keys", "create", "--name", "ci", "--scope", "chat", "--scope", "admin:read", "--json")
    key = json.loads(made.stdout)
    secret = key.pop("secret")
    assert secret.startswith(key["prefix"])
    assert (key["display_name"], key["scopes"], key["tenant"]) == ("ci", ["chat", "admin:read"], "tenants/default")
    listed = run("keys", "list", "--json")
    assert key in json.loads(listed.stdout)
    assert secret not in listed.output


def test_quiet_writes_the_secret_alone(run: Run) -> None:
    made = run("keys", "create", "--quiet")
    assert (made.exit_code, made.stderr) == (0, "")
    [line] = made.stdout.splitlines()
    assert line.startswith("lgw_")


def test_people_are_told_what_the_key_may_do_and_where_it_is(run: Run) -> None:
    made = run("keys", "create", "--expires-in", "30d")
    assert "in sqlite:///llm-gateway.db. Its secret, shown this once:" in made.stdout
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    assert f"It may chat, models:read, and works until {until}T" in made.stdout


def test_keys_are_listed_with_their_state(run: Run) -> None:
    run("keys", "create", "--name", "short", "--expires-in", "1h")
    lines = [line.split("\t") for line in run("keys", "list").stdout.splitlines()]
    assert lines[0] == ["KEY", "NAME", "PREFIX", "STATE", "EXPIRES", "SCOPES"]
    assert {line[1]: line[3] for line in lines[1:]} == {"Administrator": "active", "short": "active"}


def test_a_revoked_key_is_gone(run: Run) -> None:
    run("keys", "create", "--name", "ci")
    revoked = run("keys", "revoke", "ci")
    assert (revoked.exit_code, "within two seconds" in revoked.stdout) == (0, True)
    assert "ci" not in run("keys", "list").stdout
    again = run("keys", "revoke", "ci")
    assert (again.exit_code, again.stderr) == (
        2,
        "error: there is no key 'ci'; see `llm-gateway keys list`, and name its tenant with --tenant\n",
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("create", "--scope", "fly"), "INVALID_FIELD: api_key.scopes[0]: 'fly' is not a scope; use any of chat, "),
        (("create", "--tenant", "nobody"), "there is no 'tenants/nobody' in 'sqlite:///llm-gateway.db'; name another"),
        (("create", "--tenant", "No body"), "INVALID_FIELD: parent: 'tenants/No body' is not a parent here;"),
        (("create", "--expires-in", "soon"), "'soon' is not a span of time;"),
        (("revoke", "tenants/default/apiKeys/x"), "RESOURCE_NOT_FOUND: 'tenants/default/apiKeys/x' does not exist;"),
        (("list", "--address", "127.0.0.1:1"), "there is no API key; set LLMGATEWAY_API_KEY,"),
        (("list", "--address", "127.0.0.1:1", "--api-key", "lgw \n"), "the API key has characters that no key has;"),
    ],
)
def test_mistakes_are_named_in_a_line(run: Run, words: tuple[str, ...], problem: str) -> None:
    ended = run("keys", *words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"error: {problem}")


def test_no_database_is_made_for_keys(run: Run, folder: Path) -> None:
    (folder / "llm-gateway.db").rename(folder / "elsewhere.db")
    ended = run("keys", "list")
    assert ended.exit_code == 2
    assert ended.stderr.startswith(
        "error: there is no database 'sqlite:///llm-gateway.db'; run `llm-gateway serve` once"
    )
    assert not (folder / "llm-gateway.db").exists()
