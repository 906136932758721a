"""buf's lint rules hold, nothing breaks what the main branch promised, and both checks bite when they should."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTORS = "gen/descriptors.binpb"
BUF = Path(sys.executable).with_name("buf")


def buf(*arguments: str | Path) -> str:
    """What buf has to object to, a line each; empty when all is well."""
    run = subprocess.run(
        [BUF, *arguments, "--config", "buf.yaml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode in {0, 100}, f"buf could not do its work: {run.stderr}"  # 100: it did, and objects
    return run.stdout


def git(*arguments: str) -> bytes | None:
    """What git answers about this clone, or None when it cannot say."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def promised() -> tuple[str, bytes] | None:
    """The commit whose promises must be kept, and its descriptors.

    It is main. Where the work is main's own it is the commit before, so that a break is refused in the commit that
    makes it.
    """
    current = (ROOT / DESCRIPTORS).read_bytes()
    for main in ("main", "origin/main"):
        on_main = git("show", f"{main}:{DESCRIPTORS}")
        if on_main is not None:
            commit = f"{main}~1" if on_main == current else main
            descriptors = git("show", f"{commit}:{DESCRIPTORS}")
            return None if descriptors is None else (commit, descriptors)
    return None


def reasons_to_break(commit: str) -> str:
    """What the commits since then say after `Breaking:` in their last paragraph; empty when they break nothing."""
    said = git("log", "--format=%(trailers:key=Breaking,valueonly)", f"{commit}..HEAD")
    return (said or b"").decode().strip()


def test_protos_pass_lint(image: Path) -> None:
    assert buf("lint", image) == ""


def test_protos_keep_what_main_promised(image: Path, tmp_path: Path) -> None:
    baseline = promised()
    if baseline is None:
        pytest.skip("there is no earlier version to compare with: no git, no branch `main`, or a clone of one commit")
    commit, descriptors = baseline
    (tmp_path / "promised.binpb").write_bytes(descriptors)
    objections = buf("breaking", image, "--against", tmp_path / "promised.binpb")
    if objections and (reasons := reasons_to_break(commit)):
        pytest.skip(f"broken on purpose since {commit}: {reasons}")
    advice = "Mend them, or end the commit that breaks on purpose with a line `Breaking: <reason>`."
    assert objections == "", f"These break what {commit} promises. {advice}"


def chat(protos: FileDescriptorSet) -> FileDescriptorProto:
    """The chat service's file, whose first message is ChatRequest."""
    return next(file for file in protos.file if file.name == "llmgateway/v1/chat_service.proto")


def errors(protos: FileDescriptorSet) -> FileDescriptorProto:
    """The errors' file, whose message nothing refers to."""
    return next(file for file in protos.file if file.name == "llmgateway/v1/errors.proto")


def rename_field(protos: FileDescriptorSet) -> None:
    chat(protos).message_type[0].field[0].name = "modelName"


def rename_message(protos: FileDescriptorSet) -> None:
    errors(protos).message_type[0].name = "error_details"


def rename_enum_values(protos: FileDescriptorSet) -> None:
    errors(protos).enum_type[0].value[0].name = "ERROR_REASON_NONE"
    errors(protos).enum_type[0].value[1].name = "INVALID_FIELD"


def drop_comments(protos: FileDescriptorSet) -> None:
    for location in chat(protos).source_code_info.location:
        location.ClearField("leading_comments")


def retype_field(protos: FileDescriptorSet) -> None:
    chat(protos).message_type[0].field[0].type = FieldDescriptorProto.TYPE_BYTES


def remove_field(protos: FileDescriptorSet) -> None:
    del chat(protos).message_type[0].field[-1]


def remove_method(protos: FileDescriptorSet) -> None:
    del chat(protos).service[0].method[-1]


@pytest.mark.parametrize(
    ("harm", "objections"),
    [
        (rename_field, ["should be lower_snake_case"]),
        (rename_message, ["should be PascalCase"]),
        (rename_enum_values, ['suffixed with "_UNSPECIFIED"', 'prefixed with "ERROR_REASON_"']),
        (drop_comments, ['Message "ChatRequest" should have a non-empty comment', 'RPC "CompleteChat" should have']),
    ],
)
def test_lint_bites(
    protos: FileDescriptorSet, tmp_path: Path, harm: Callable[[FileDescriptorSet], None], objections: list[str]
) -> None:
    said = buf("lint", harmed(protos, harm, tmp_path))
    assert [objection for objection in objections if objection not in said] == [], said


@pytest.mark.parametrize(
    ("harm", "objection"),
    [
        (rename_field, "changed name"),
        (retype_field, "changed type"),
        (remove_field, "was deleted"),
        (remove_method, "was deleted"),
    ],
)
def test_breaking_bites(
    image: Path, protos: FileDescriptorSet, tmp_path: Path, harm: Callable[[FileDescriptorSet], None], objection: str
) -> None:
    assert objection in buf("breaking", harmed(protos, harm, tmp_path), "--against", image)


def harmed(protos: FileDescriptorSet, harm: Callable[[FileDescriptorSet], None], folder: Path) -> Path:
    """A file with a copy of the image to which the harm was done."""
    copy = FileDescriptorSet()
    copy.CopyFrom(protos)
    harm(copy)
    (folder / "harmed.binpb").write_bytes(copy.SerializeToString())
    return folder / "harmed.binpb"
