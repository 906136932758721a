"""Odd JSON, sent to both REST surfaces: what comes of each oddity is written down in `golden/json_matrix.yaml`.

Run with `UPDATE_GOLDEN=1` to write it anew, then read what changed.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.calling import RestTransport
from tests.support.transcoding import RestRequest
from tests.support.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

GOLDEN = Path(__file__).parent / "golden" / "json_matrix.yaml"
NATIVE = '{"messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}]%s}'
OPENAI = '{"model": "fake/echo", "messages": [{"role": "user", "content": "hi"}]%s}'


def seed(value: str) -> tuple[str, str]:
    """A seed, for each surface."""
    return f', "generation": {{"seed": {value}}}', f', "seed": {value}'


FIELDS: dict[str, tuple[str, str]] = {
    "nothing odd": ("", ""),
    "an unknown field": (', "colour": "red"', ', "colour": "red"'),
    "a field twice": (
        ', "requestId": "one", "requestId": "two"',
        ', "temperature": 9, "temperature": 1',
    ),
    "a field under both of its names": (
        ', "generation": {"max_output_tokens": -1, "maxOutputTokens": 1}',
        ', "max_tokens": 1, "max_completion_tokens": 2',
    ),
    "a number as a text": (', "generation": {"temperature": "0.5"}', ', "temperature": "0.5"'),
    "NaN as a text": (', "generation": {"temperature": "NaN"}', ', "temperature": "NaN"'),
    "NaN as it is": (', "generation": {"temperature": NaN}', ', "temperature": NaN'),
    "infinity as a text": (', "generation": {"temperature": "Infinity"}', ', "temperature": "Infinity"'),
    "a number beyond numbers": (', "generation": {"temperature": 1e400}', ', "temperature": 1e400'),
    "minus zero": (', "generation": {"temperature": -0}', ', "temperature": -0'),
    "an integer with a fraction of nothing": (', "generation": {"topK": 5.0}', ', "max_tokens": 5.0'),
    "an integer with a fraction": (', "generation": {"topK": 5.5}', ', "max_tokens": 5.5'),
    "the largest integer": seed(str(2**63 - 1)),
    "the largest integer as a text": seed(f'"{2**63 - 1}"'),
    "one beyond the largest integer": seed(str(2**63)),
    "the least integer": seed(str(-(2**63))),
    "an integer of thirty digits": seed("123456789012345678901234567890"),
    "null": (', "generation": null', ', "temperature": null'),
    "a truth value as a text": (', "strict": "true"', ', "stream": "true"'),
    "a truth value as a number": (', "strict": 1', ', "stream": 1'),
    "an enum by its number": (', "toolChoice": {"mode": 1}', ', "tool_choice": 1'),
    "NUL in a text": (', "endUser": "a\\u0000b"', ', "user": "a\\u0000b"'),
    "half a surrogate": (', "endUser": "\\ud800"', ', "user": "\\ud800"'),
    "a whole surrogate pair": (', "endUser": "\\ud83d\\ude00"', ', "user": "\\ud83d\\ude00"'),
    "a line end in a text": (', "endUser": "a\nb"', ', "user": "a\nb"'),
    "a comma too many": (",", ","),
    "a comment": (" /* hi */", " /* hi */"),
    "single quotes": (", 'strict': true", ", 'stream': false"),
    "nesting of 50": (f', "x": {"[" * 50}{"]" * 50}', f', "x": {"[" * 50}{"]" * 50}'),
    "nesting of 100": (f', "x": {"[" * 100}{"]" * 100}', f', "x": {"[" * 100}{"]" * 100}'),
    "nesting of 300": (f', "x": {"[" * 300}{"]" * 300}', f', "x": {"[" * 300}{"]" * 300}'),
    "nesting of 20,000": (f', "x": {"[" * 20_000}{"]" * 20_000}', f', "x": {"[" * 20_000}{"]" * 20_000}'),
}
"""What is put into a body that is right otherwise, for each surface."""

WHOLE: dict[str, bytes] = {
    "nothing at all": b"",
    "white space": b" \n",
    "null alone": b"null",
    "an array": b"[]",
    "a text": b'"hi"',
    "a number": b"7",
    "an open object": b'{"messages": [',
    "what follows the end": (NATIVE % "").encode() + b" {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "bytes that are no UTF-8": b'{"messages": "\xc3\x28"}',
    "an overlong form": b'{"messages": "\xc0\xaf"}',
}
"""Bodies that are odd as a whole."""

QUERIES: dict[str, str] = {
    "a field of the body in the query": "?endUser=me",
    "the model in the query": "?model=models/other",
    "an unknown parameter": "?colour=red",
    "a parameter of some SDKs": "?api-version=2024-01-01",
}

CASES = [
    *((f"field: {name}", native, openai, "") for name, (native, openai) in FIELDS.items()),
    *((f"body: {name}", body, body, "") for name, body in WHOLE.items()),
    *((f"query: {name}", "", "", query) for name, query in QUERIES.items()),
]
_OF_ONE_REQUEST = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _golden() -> dict[str, Any]:
    return yaml.safe_load(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}


@pytest.mark.parametrize(("name", "native", "openai", "query"), CASES, ids=[case[0] for case in CASES])
async def test_odd_json_gets_what_is_written_down(
    name: str, native: str | bytes, openai: str | bytes, query: str, rest_transport: RestTransport, rest_world: World
) -> None:
    headers = {"content-type": "application/json", **dict(rest_world.metadata("chat"))}
    found: dict[str, Any] = {}
    for surface, path, template, part in (
        ("native", "/api/v1/models/fake/echo:completeChat", NATIVE, native),
        ("openai", "/v1/chat/completions", OPENAI, openai),
    ):
        body = part if isinstance(part, bytes) else (template % part).encode()
        reply = await rest_transport.send(RestRequest("POST", path + query), body, headers)
        assert reply.http < 500
        assert reply.content_type == "application/json"
        found[surface] = {"http": reply.http}
        if reply.http != 200:
            said = reply.error["error"] if reply.error else {"reason": reply.reason, "field": reply.field}
            found[surface] |= {**said, "message": _OF_ONE_REQUEST.sub("", reply.message)}
    golden = _golden()
    if os.environ.get("UPDATE_GOLDEN"):
        golden[name] = found
        text = yaml.safe_dump(golden, sort_keys=True, allow_unicode=True, width=120)
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(f"# What odd JSON comes to, by REST. `test_json_matrix.py` says how it is written.\n{text}")
    assert found == golden.get(name)
