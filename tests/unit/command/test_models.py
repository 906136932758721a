"""`models`: the catalogue, with no gateway and no key."""

import json
from pathlib import Path

import pytest

from tests.unit.command.conftest import Run

ECHO = {
    "id": "fake/echo",
    "name": "models/fake/echo",
    "display_name": "Echo",
    "description": "Answers with the last user message, a word a chunk when streamed. It costs nothing.",
    "owner": "llm-gateway",
    "status": "active",
    "capabilities": [],
    "context_window": None,
    "max_output_tokens": None,
    "price": {"input": 0, "output": 0},
    "aliases": [],
    "replacement": None,
    "labels": {},
}
RESOURCES = """
resources:
  models:
    - name: models/acme/large
      display_name: "Large\\e[31m"
      owner: acme
      context_window: 200000
      max_output_tokens: 8192
      price: {input: 3000000000, output: 15000000000}
      status: STATUS_DEPRECATED
      replacement: models/fake/echo
      aliases: [large, big]
      capabilities: [chat, tools]
"""


@pytest.mark.usefixtures("started")
def test_the_models_are_those_in_the_database(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(RESOURCES)  # no gateway has started with it
    listed = run("models", "list", "--json", "--config", "gateway.yaml")
    assert (listed.exit_code, listed.stderr, json.loads(listed.stdout)) == (0, "", [ECHO])


def test_where_no_gateway_has_started_they_are_those_it_would_start_with(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(RESOURCES)
    [large, echo] = json.loads(run("models", "list", "--json", "--config", "gateway.yaml").stdout)
    assert echo == ECHO
    assert (large["id"], large["owner"], large["context_window"]) == ("acme/large", "acme", 200_000)
    assert (large["max_output_tokens"], large["status"], large["aliases"]) == (8192, "deprecated", ["large", "big"])
    assert large["price"] == {"input": 3_000_000_000, "output": 15_000_000_000}
    assert (large["replacement"], large["capabilities"]) == ("models/fake/echo", ["chat", "tools"])
    assert not (folder / "llm-gateway.db").exists()


def test_a_migrated_database_without_a_start_is_as_good_as_none(run: Run) -> None:
    run("migrate")
    assert json.loads(run("models", "list", "--json").stdout) == [ECHO]


def test_the_table_says_what_people_ask_for(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text(RESOURCES)
    listed = run("models", "list", "--config", "gateway.yaml")
    assert [line.split("\t") for line in listed.stdout.splitlines()] == [
        ["MODEL", "NAME", "OWNER", "STATUS", "WINDOW", "$/M IN", "$/M OUT", "ALIASES"],
        ["acme/large", "Large�[31m", "acme", "deprecated", "200000", "$3.00", "$15.00", "large big"],
        ["fake/echo", "Echo", "llm-gateway", "active", "", "$0.00", "$0.00", ""],
    ]


def test_a_configuration_that_makes_no_sense_is_a_mistake(run: Run, folder: Path) -> None:
    (folder / "gateway.yaml").write_text("resources: {models: [{name: models/x, context_window: -1}]}")
    ended = run("models", "list", "--json", "--config", "gateway.yaml")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == "error: resources.models[0]: model.context_window: is -1; use 0 or more.\n"
