"""The benchmark runs whole, against the gateway as users run it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bench.processes import ROOT
from tests.bench.rows import ROWS

pytestmark = [pytest.mark.e2e, pytest.mark.bench]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_every_way_and_shape_is_measured() -> None:
    done = bench("--quick", "--json", "--only", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["rows"]] == [row.name for row in ROWS if row.connections == 1]
    for row in report["rows"]:
        assert row["requests"] > 0
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
    added = {row["name"]: row["added_p50_ms"] for row in report["rows"] if row["provider"] == "openai"}
    assert all(milliseconds > 0 for milliseconds in added.values())
    assert [target["row"] for target in report["targets"]] == ["openai rest whole 32", "openai rest whole 1"]
    assert report["memory_mib"]["server_at_end"] > 0


def test_a_profile_names_what_the_server_runs() -> None:
    done = bench("--quick", "--profile", "--only", "fake grpc whole 1")
    assert done.returncode == 0, done.stderr
    assert "llmgateway_server/pipeline/dispatch.py" in done.stdout


def test_a_row_that_does_not_exist_is_named() -> None:
    done = bench("--only", "carrier pigeon")
    assert done.returncode == 1
    assert "'carrier pigeon'" in done.stderr
    assert "'openai rest whole 32'" in done.stderr
