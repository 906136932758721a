"""Writes the pages of docs/ that follow from the code: errors, configuration and API.

python docs/generate.py            writes what changed
python docs/generate.py --check    writes nothing; names what is stale and exits with 1
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import code_pb2
from pydantic import BaseModel, SecretStr

from llmgateway.v1 import authorization_pb2
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.api.status import HTTP_STATUS, OPENAI
from llmgateway_server.errors import CLASSES, RETRYABLE
from llmgateway_server.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_HEADER = "<!-- Written by docs/generate.py. Do not edit. -->\n\n"

_SERVICE, _METHOD, _ENUM, _VALUE = 6, 2, 5, 2  # Field numbers of FileDescriptorProto and its children.


def main() -> int:
    """Writes or checks the pages. Returns the exit code: 0 when all is well, 1 when something is stale."""
    parser = argparse.ArgumentParser(description="Writes the pages of docs/ that follow from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when something is stale")
    check = parser.parse_args().check
    files = described_files()
    pages = {"errors.md": errors_page(files), "configuration.md": configuration_page(), "api.md": api_page(files)}
    stale = [name for name, text in pages.items() if not (DOCS / name).is_file() or (DOCS / name).read_text() != text]
    for name in stale:
        print(f"{'stale' if check else 'written'}: docs/{name}")
        if not check:
            (DOCS / name).write_text(pages[name])
    if check and stale:
        print("Run `make gen` and commit the result.", file=sys.stderr)
    return 1 if check and stale else 0


def described_files() -> list[FileDescriptorProto]:
    """Our protos with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        subprocess.run([sys.executable, ROOT / "proto" / "generate.py", "--image", image], check=True)
        files = FileDescriptorSet.FromString(image.read_bytes()).file
    return [file for file in files if file.name.startswith("llmgateway/")]


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """The comment before each element, by the element's path."""
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def errors_page(files: list[FileDescriptorProto]) -> str:
    """A row a reason: what it means, its codes, and whether a repeat may help."""
    file = next(file for file in files if file.name.endswith("/errors.proto"))
    texts = comments(file)
    lines = [
        "# Errors",
        "",
        "Every error has a reason. Over gRPC it is in `google.rpc.ErrorInfo` (domain `llmgateway.dev`), beside",
        "a `RequestInfo` with the request's id; over `/api/v1` the same details are in the body; over `/v1` the body",
        "is OpenAI's, with the `type` and `code` below. `retry-after` and `RetryInfo` say when to come back, where",
        "that is known. A stream that breaks off ends with a `failed` event (`/v1`: an `error` line), whatever its status.",
        "",
        "| Reason | gRPC | HTTP | OpenAI `type` / `code` | Again? | Meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for enum_index, enum in enumerate(file.enum_type):
        for index, value in enumerate(enum.value):
            reason = cast("ErrorReason", ErrorReason.Value(value.name))  # a number, say protoc's stubs
            if reason not in CLASSES:
                continue
            code = CLASSES[reason].code
            dialect = OPENAI.get(reason)
            shown = f"`{dialect.type}` / `{dialect.code}`" if dialect else "`server_error`"
            lines.append(
                f"| `{value.name.removeprefix('ERROR_REASON_')}` | `{code_pb2.Code.Name(code)}` "
                f"| {HTTP_STATUS.get(reason, _HTTP[code])} | {shown} | {'yes' if reason in RETRYABLE else 'no'} "
                f"| {texts[(_ENUM, enum_index, _VALUE, index)]} |"
            )
    return _HEADER + "\n".join(lines) + "\n"


_HTTP: Mapping[int, int] = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.ABORTED: 409,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.CANCELLED: 499,
    code_pb2.INTERNAL: 500,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}
"""How Envoy's transcoder turns codes into statuses."""


def configuration_page() -> str:
    """A row a setting: its variable, its default and what it is for."""
    lines = [
        "# Configuration",
        "",
        "Settings belong to the process. They come from the YAML file that `LLMGATEWAY_CONFIG` names; the environment",
        "wins over the file. `llm-gateway config check` says everything that is wrong; `llm-gateway config show`",
        "prints what is in force, without secrets. Resources (providers, models, routes) belong to the service: they",
        "are changed through the API, and the file's `resources:` part creates them and keeps them as written.",
        "",
        "| Setting | Variable | Default | Meaning |",
        "| --- | --- | --- | --- |",
        *settings_rows(Settings, ()),
    ]
    return _HEADER + "\n".join(lines) + "\n"


def settings_rows(section: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """The rows of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        here = (*path, name)
        default: Any = field.get_default(call_default_factory=True)  # `Any`: of any field
        if isinstance(default, BaseModel):
            yield from settings_rows(type(default), here)
            continue
        shown = default.get_secret_value() if isinstance(default, SecretStr) else default
        text = " ".join((field.description or "").split())
        yield f"| `{'.'.join(here)}` | `{PREFIX}{'__'.join(here).upper()}` | `{_yaml(shown)}` | {text} |"


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def api_page(files: list[FileDescriptorProto]) -> str:
    """A table a service: its methods with their HTTP form and the scope they need."""
    lines = [
        "# API",
        "",
        "The protos under `proto/` are the reference: every message and field is explained there. This page lists the",
        "methods. Each is called by gRPC under its full name, and by REST as written here; a key that lacks the scope",
        "is refused with `SCOPE_REQUIRED`. What concerns the whole service needs the scope `platform` besides.",
        "",
        "A field that does not exist is passed over, so that newer clients can call: a misspelt one changes nothing.",
        "`/v1/chat/completions` names those it did not know in the header `x-gw-warnings`; for the rest, read the answer.",
    ]
    for file in files:
        texts = comments(file)
        for service_index, service in enumerate(file.service):
            lines += ["", f"## {file.package}.{service.name}", "", texts[(_SERVICE, service_index)], ""]
            lines += ["| Method | HTTP | Scope | What it does |", "| --- | --- | --- | --- |"]
            for index, method in enumerate(service.method):
                extensions = cast("Any", method.options.Extensions)  # The stubs know no extensions of options.
                scope = f"`{extensions[authorization_pb2.required_scope]}`"
                if extensions[authorization_pb2.platform]:
                    scope += ", `platform`"
                rule = extensions[annotations_pb2.http]
                verb = rule.WhichOneof("pattern") or ""
                http = f"`{verb.upper()} {getattr(rule, verb)}`" if verb else "gRPC only"
                text = texts[(_SERVICE, service_index, _METHOD, index)]
                stream = " (stream)" if method.server_streaming else ""
                lines.append(f"| {method.name}{stream} | {http} | {scope} | {text} |")
    return _HEADER + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
