"""The generated code is what the protos give, and the descriptor set holds what the edge needs."""

import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[3]


def test_generated_files_match_the_protos() -> None:
    check = subprocess.run(
        [sys.executable, "proto/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_descriptor_set_holds_the_error_details() -> None:
    # Without these types Envoy drops the bodies of errors.
    descriptors = FileDescriptorSet.FromString((ROOT / "gen/descriptors.binpb").read_bytes())
    assert "google/rpc/error_details.proto" in [file.name for file in descriptors.file]


def test_descriptor_set_holds_no_comments() -> None:
    descriptors = FileDescriptorSet.FromString((ROOT / "gen/descriptors.binpb").read_bytes())
    assert [file.name for file in descriptors.file if file.HasField("source_code_info")] == []
