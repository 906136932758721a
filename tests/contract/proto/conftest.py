"""What the proto checks look at: an image of our protos and all they import, with comments and positions."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.api import annotations_pb2, field_behavior_pb2  # registers the options, so that parsing keeps them
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from llmgateway.v1 import authorization_pb2

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = (annotations_pb2.http, field_behavior_pb2.field_behavior, authorization_pb2.required_scope)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a file, made from proto/ as it is now."""
    target = tmp_path_factory.mktemp("proto") / "image.binpb"
    generate = [sys.executable, "proto/generate.py", "--image", str(target)]
    subprocess.run(generate, cwd=ROOT, check=True)
    return target


@pytest.fixture(scope="session")
def protos(image: Path) -> FileDescriptorSet:
    """The image as a message. Tests that change it work on a copy."""
    return FileDescriptorSet.FromString(image.read_bytes())
