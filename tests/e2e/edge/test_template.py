"""The configuration as a file: its names are those that the README explains, and it works without our own code."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from llmgateway_server.edge import EdgeOptions
from llmgateway_server.edge.configuration import render
from llmgateway_server.edge.process import find_binary

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = (ROOT / "envoy/envoy.yaml").read_text()
README = (ROOT / "envoy/README.md").read_text()
NAME = re.compile(r"\$\{([A-Z_]+)\}")


def test_every_name_is_explained_and_filled_in() -> None:
    names = set(NAME.findall(TEMPLATE))
    table = README.partition("## Names")[2].partition("##")[0]
    explained = set(
        re.findall(r"`([A-Z_]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert explained == names
    rendered = render(EdgeOptions(listen="", upstream=""), listen=("h", 1), upstream="u", admin="a")
    assert not NAME.search(rendered)


def test_the_readmes_way_gives_a_configuration_that_envoy_takes(tmp_path: Path) -> None:
    block = README.partition("```sh")[2].partition("```")[0]
    lines = [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("export")]
    values = dict(assignment.split("=", 1) for line in lines for assignment in line)
    values |= {"CONFIG_DIR": str(ROOT / "envoy"), "DESCRIPTORS": str(ROOT / "gen/descriptors.binpb")}
    filled = tmp_path / "filled.yaml"
    filled.write_text(NAME.sub(lambda name: values[name[1]], TEMPLATE))
    command = [find_binary(), "--mode", "validate", "--config-path", filled, "--log-level", "warning"]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    assert "warning" not in check.stderr
