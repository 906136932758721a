"""The guide to the fake provider says what its scripts may hold, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
import yaml

from llmgateway_server.providers.fake_script import Script, ScriptedFailure

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "fake-provider.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def rows(heading: str) -> set[str]:
    """The names in the first column of a table."""
    table = GUIDE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_every_field_is_in_the_table() -> None:
    assert rows("Field") == {field.alias or name for name, field in Script.model_fields.items()}
    assert rows("Field of `failure`") == set(ScriptedFailure.model_fields)


@pytest.mark.parametrize("text", blocks("json"))
def test_example_is_a_script(text: str) -> None:
    Script.model_validate(orjson.loads(text))


def test_provider_in_the_example_has_a_script() -> None:
    (block,) = blocks("yaml")

    Script.model_validate(orjson.loads(yaml.safe_load(block)["resources"]["providers"][0]["script"]))
