"""Writes the generated code and the descriptor set from the protos, without the network.

    python proto/generate.py            writes what changed
    python proto/generate.py --check    writes nothing; names what is stale and exits with 1
    python proto/generate.py --image F  writes the descriptors with their comments to F, for `buf lint F`

protoc, its plugins and Google's own protos come from the development lock, so the same protos give the same bytes
on every machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"

# What this program owns, relative to the root: everything below a folder, or the one file.
DESCRIPTORS = Path("gen/descriptors.binpb")
MESSAGES = Path("gen/python")
PACKAGE = MESSAGES / "llmgateway"
CLIENT = Path("clients/python/llmgateway_client/generated")
OWNED = (DESCRIPTORS, PACKAGE, CLIENT)

PACKAGE_DOCSTRING = '"""Messages and services of LLM Gateway, written by proto/generate.py. Do not edit."""\n'


class GenerationError(Exception):
    """protoc or one of its plugins refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One file whose content on disk is not what the protos give."""

    path: Path
    problem: str


def main() -> int:
    """Generates, or checks. Returns the exit code: 0 when all is well, 1 when something is stale or refused."""
    parser = argparse.ArgumentParser(description="Writes the generated code from the protos.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when something is stale")
    parser.add_argument("--image", type=Path, metavar="FILE", help="only write the descriptors with their comments")
    arguments = parser.parse_args()
    try:
        if arguments.image:
            write_image(arguments.image.resolve())
            return 0
        return synchronise(check=arguments.check)
    except GenerationError as error:
        print(error, file=sys.stderr)
        return 1


def synchronise(*, check: bool) -> int:
    """Brings the generated files in step with the protos, or says what is not. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="llm-gateway-generate-") as scratch:
        fresh = Path(scratch)
        generate(fresh)
        differences = list(compare(fresh))
        if not check:
            write(fresh, differences)
    for difference in differences:
        print(f"{difference.problem}: {difference.path}")
    if not check:
        print(f"{len(differences)} generated files changed")
        return 0
    if differences:
        print("The generated files do not match the protos. Run `make gen` and commit the result.", file=sys.stderr)
    return 1 if differences else 0


def generate(fresh: Path) -> None:
    """Writes every generated file below `fresh`, at the path it has below the root."""
    for folder in (MESSAGES, CLIENT):
        (fresh / folder).mkdir(parents=True)
    # betterproto2 formats with ruff, which obeys the nearest settings: these, wherever the command is run.
    (fresh / "ruff.toml").write_text('line-length = 120\ntarget-version = "py311"\n')
    protoc(
        fresh,
        f"--descriptor_set_out={fresh / DESCRIPTORS}",
        "--include_imports",
        f"--python_out={fresh / MESSAGES}",
        f"--grpc_python_out={fresh / MESSAGES}",
        f"--pyi_out={fresh / MESSAGES}",
        # A method that a servicer leaves out answers UNIMPLEMENTED; abstract stubs would say otherwise.
        f"--mypy_grpc_out=generate_concrete_servicer_stubs:{fresh / MESSAGES}",
        f"--python_betterproto2_out={fresh / CLIENT}",
        "--python_betterproto2_opt=client_generation=async",
    )
    files = FileDescriptorSet.FromString((fresh / DESCRIPTORS).read_bytes()).file
    drop_empty_service_modules(fresh, [file for file in files if file.name in own_protos()])
    make_package(fresh / PACKAGE)


def write_image(target: Path) -> None:
    """Writes our protos and all they import, with comments and positions, as buf and style checks want them."""
    protoc(PROTOS, "--include_imports", "--include_source_info", f"--descriptor_set_out={target}")


def own_protos() -> list[str]:
    """Our protos as they import each other, such as `llmgateway/v1/content.proto`, sorted."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def protoc(folder: Path, *arguments: str) -> None:
    """Runs protoc on our protos, from within `folder`; raises GenerationError with its words when it fails."""
    google = distribution("googleapis-common-protos").locate_file("")
    plugins = Path(sys.executable).parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{google}", *arguments, *own_protos()]
    environment = {**os.environ, "PATH": f"{plugins}{os.pathsep}{os.environ.get('PATH', '')}"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise GenerationError(run.stderr)


def drop_empty_service_modules(fresh: Path, files: list[FileDescriptorProto]) -> None:
    """Removes the service modules of protos without a service: they hold nothing but an import of grpc."""
    for file in files:
        if not file.service:
            module = fresh / MESSAGES / file.name.removesuffix(".proto")
            for suffix in ("_pb2_grpc.py", "_pb2_grpc.pyi"):
                module.with_name(module.name + suffix).unlink()


def make_package(package: Path) -> None:
    """Makes regular, typed packages of the folders that protoc made."""
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").write_text(PACKAGE_DOCSTRING)
    (package / "py.typed").touch()


def compare(fresh: Path) -> Iterator[Difference]:
    """Yields each owned file that is missing, stale, or no longer wanted, in the order of the paths."""
    wanted = files_below(fresh)
    for path in sorted(wanted | files_below(ROOT)):
        if path not in wanted:
            yield Difference(path, "unwanted")
        elif not (ROOT / path).exists():
            yield Difference(path, "missing")
        elif (ROOT / path).read_bytes() != (fresh / path).read_bytes():
            yield Difference(path, "stale")


def files_below(base: Path) -> set[Path]:
    """The owned files that exist below `base`, relative to it; Python's own caches are nobody's."""
    owned: set[Path] = set()
    for root in OWNED:
        found = [base / root] if (base / root).is_file() else (base / root).rglob("*")
        owned |= {path.relative_to(base) for path in found if path.is_file() and "__pycache__" not in path.parts}
    return owned


def write(fresh: Path, differences: list[Difference]) -> None:
    """Brings the files on disk in step; a file that is right keeps its time stamp."""
    for difference in differences:
        target = ROOT / difference.path
        if difference.problem == "unwanted":
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((fresh / difference.path).read_bytes())


if __name__ == "__main__":
    sys.exit(main())
