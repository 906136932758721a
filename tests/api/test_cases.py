"""Runs the cases under `cases/`: each over gRPC against the gateway in this process, and over REST through Envoy.

A case has a `name` and `steps`, or is itself one step. A step says what to send and what to expect:

- `call`: a method, such as `AdminService/GetTenant`, with its `message` as proto JSON. By REST it becomes the request
  that the annotations of the proto say.
- `openai`: the body of a chat completion, as JSON. `text` or `base64` in its place are bytes as they are.
- `rest` / `grpc`: a request of one transport alone: `method`, `path`, `headers` and one of `json`, `text`, `base64`; or
  a `method` and `base64`. The other transport passes over the step. Any of the bytes may be repeated by `times`.
- `as`: whose key is sent, `admin` if nothing is said. `metadata`: further headers.
- `expect`: `code` (OK), `reason`, `field`, `says` (a piece of the message), `http`, `reply` (the first answer),
  `first`, `last` and `count` of all answers, `openai` (the error of the dialect), `headers`. Only what is named is
  compared, and a text between slashes is a pattern. `rest` and `grpc` in it hold for one transport alone.
- `save`: values of the first answer, by their paths, that later steps write as `${name}`.

`${acme}` and `${other}` are tenants, `${id}` is new for each run, and `${x*9}` is a character nine times. What a case
makes is deleted after it.
"""

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.support.calling import OPENAI_CHAT, GrpcTransport, Reply, RestTransport, openai_message
from tests.support.transcoding import RestRequest, message_of, methods
from tests.support.world import World, remove

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOLDER = Path(__file__).parent / "cases"
HTTP = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_NEVER_SHOWN = ("secretHash", "previousSecretHash", "secret_hash", "previousExpireTime")
_SHOWS_SECRETS = ("AdminService/CreateApiKey", "AdminService/RotateApiKey")

Case = Mapping[str, Any]


def _cases(kind: str) -> Iterator[Any]:
    """The cases that have something to send by a transport."""
    for path in sorted(FOLDER.rglob("*.yaml")):
        place = path.relative_to(FOLDER).with_suffix("")
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            if _steps(case, kind):
                yield pytest.param(case, id=f"{place}: {case['name']}")


def _steps(case: Case, kind: str) -> list[Case]:
    """The steps of a case that go by a transport."""
    return [step for step in case.get("steps", [case]) if kind in step or not {"rest", "grpc"} & step.keys()]


@pytest.mark.parametrize("case", [*_cases("grpc")])
async def test_over_grpc(case: Case, grpc_transport: GrpcTransport, grpc_world: World) -> None:
    await _run(case, grpc_transport, grpc_world, "grpc", grpc_transport)


@pytest.mark.e2e
@pytest.mark.parametrize("case", [*_cases("rest")])
async def test_over_rest(
    case: Case, rest_transport: RestTransport, rest_world: World, rest_cleaner: GrpcTransport
) -> None:
    await _run(case, rest_transport, rest_world, "rest", rest_cleaner)


async def _run(
    case: Case, transport: GrpcTransport | RestTransport, world: World, kind: str, cleaner: GrpcTransport
) -> None:
    values = {"acme": world.acme, "other": world.other, "id": f"case-{secrets.token_hex(4)}"}
    made: list[str] = []
    try:
        for number, step in enumerate(_steps(case, kind)):
            reply = await _send(_filled(step, values), transport, world)
            made += _made(step, reply)
            where = f"step {number}: "
            _check(where, _filled(step.get("expect", {}), values), reply, kind)
            _check_secrets(where, step, reply, world)
            for name, path in step.get("save", {}).items():
                values[name] = _at(reply.messages[0], path)
    finally:
        for name in reversed(made):
            await remove(cleaner, world.keys["admin"], name)


async def _send(step: Case, transport: GrpcTransport | RestTransport, world: World) -> Reply:
    metadata = (*world.metadata(step.get("as", "admin")), *step.get("metadata", {}).items())
    if "call" in step:
        method = methods()[step["call"]]
        return await transport.call(method, message_of(method, step.get("message", {})), metadata)
    if "openai" in step or "text" in step or "base64" in step:
        method = methods()[OPENAI_CHAT]
        return await transport.call(method, openai_message(method, _bytes(step, "openai")), metadata)
    if isinstance(transport, GrpcTransport):
        request = step["grpc"]
        return await transport.send(methods()[request["method"]], _bytes(request), metadata)
    request = step["rest"]
    has_body = bool({"json", "text", "base64"} & request.keys())
    headers = {**({"content-type": "application/json"} if has_body else {}), **dict(metadata)}
    body = _bytes(request) if has_body else None
    wanted = RestRequest(request["method"], request["path"], headers=request.get("headers", {}))
    return await transport.send(wanted, body, headers)


def _bytes(request: Case, json_field: str = "json") -> bytes:
    if json_field in request:
        return json.dumps(request[json_field]).encode()
    data = base64.b64decode(request["base64"]) if "base64" in request else str(request["text"]).encode()
    return data * int(request.get("times", 1))


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    """A value with every `${name}` in it replaced, and every `${x*9}` by nine of the character."""
    if isinstance(value, str):
        value = re.sub(r"\$\{(.)\*(\d+)\}", lambda found: found[1] * int(found[2]), value)
        return re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), value)
    if isinstance(value, dict):
        return {_filled(key, values): _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    return value


def _made(step: Case, reply: Reply) -> list[str]:
    """The name of what a step made, if it did."""
    if reply.code == "OK" and "/Create" in step.get("call", "") and "name" in reply.messages[0]:
        return [reply.messages[0]["name"]]
    return []


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _check(where: str, expected: Case, reply: Reply, kind: str) -> None:
    expected = {**expected, **expected.get(kind, {})}
    code = expected.get("code", "OK")
    told = f"{where}{reply!r}"
    if kind == "rest":
        assert reply.http == (expected.get("http") or HTTP[code]), told
        assert reply.code in (code, ""), told
    else:
        assert reply.code == code, told
    in_details = kind == "grpc" or reply.error is None  # A foreign dialect's body has no room for them.
    for name, found in (("reason", reply.reason), ("field", reply.field)):
        if name in expected and in_details:
            assert found == expected[name], told
    if "says" in expected:
        assert expected["says"] in reply.message, told
    if "openai" in expected:
        assert reply.error is not None, told
        _compare(f"{where}error", expected["openai"], reply.error["error"])
    for name, position in (("reply", 0), ("first", 0), ("last", -1)):
        if name in expected:
            assert reply.messages, told
            _compare(f"{where}{name}", expected[name], reply.messages[position])
    if "count" in expected:
        assert len(reply.messages) == expected["count"], told
    if "headers" in expected:
        _compare(f"{where}headers", expected["headers"], reply.headers)


def _compare(where: str, expected: Any, found: Any) -> None:
    """Whether all that is expected is there. Absence is expected as null."""
    if isinstance(expected, dict):
        assert isinstance(found, Mapping), f"{where} is {found!r}"
        for name, inner in expected.items():
            _compare(f"{where}.{name}", inner, cast("Mapping[str, Any]", found).get(name))
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{where} is {found!r}"
        assert len(found) == len(expected), f"{where} is {found!r}"
        for position, (inner, item) in enumerate(zip(expected, found, strict=True)):
            _compare(f"{where}[{position}]", inner, item)
    elif isinstance(expected, str) and len(expected) > 1 and expected.startswith("/") and expected.endswith("/"):
        assert isinstance(found, str), f"{where} is {found!r}"
        assert re.search(expected[1:-1], found), f"{where} is {found!r}"
    else:
        assert found == expected, f"{where} is {found!r}"


def _check_secrets(where: str, step: Case, reply: Reply, world: World) -> None:
    """No answer shows a hash of a key, and none shows a key but the one that makes it."""
    shown = f"{reply!r}"
    for name in _NEVER_SHOWN:
        assert name not in shown, f"{where}{name} is shown"
    for who, key in world.keys.items():
        assert not key or key not in shown, f"{where}the key of {who!r} is shown"
    if step.get("call") not in _SHOWS_SECRETS:
        assert not _finds(reply.messages, lambda name, _: name == "secret"), f"{where}a secret is shown"


def _finds(value: Any, is_it: Callable[[str, Any], bool]) -> bool:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return any(is_it(name, inner) or _finds(inner, is_it) for name, inner in items)
    if isinstance(value, list | tuple):
        return any(_finds(inner, is_it) for inner in cast("list[Any]", value))
    return False
