"""Reads `multipart/form-data` bodies, strictly: what is no form is refused rather than guessed at.

The standard library's parser is made for mail: it takes megabytes of a file apart line by line. This one looks for the
boundary alone, and copies each file once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmgateway_server.errors import invalid_field

MAX_FIELDS = 64
_MAX_HEAD = 8 * 1024
"""Most bytes of one field's headers."""
_MAX_BOUNDARY = 70
"""As RFC 2046 has it."""

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class FormField:
    """One field."""

    name: str
    value: bytes
    filename: str
    """Empty for a field that is no file."""
    content_type: str


def read_form(content_type: str, data: bytes) -> list[FormField]:
    """The fields of a form, in order. Raises INVALID_FIELD for a body that is none."""
    kind = content_type.partition(";")[0].strip().lower()
    found = _BOUNDARY.search(content_type)
    if kind != "multipart/form-data" or found is None:
        raise invalid_field("body", "must be multipart/form-data with a boundary.")
    boundary: str = found[1] or found[2]
    if len(boundary) > _MAX_BOUNDARY:
        raise invalid_field("body", f"has a boundary of more than {_MAX_BOUNDARY} characters.")
    fields = list(_fields(data, b"--" + boundary.encode()))
    if not fields:
        raise invalid_field("body", "is a form without fields.")
    return fields


def _fields(data: bytes, delimiter: bytes) -> Iterator[FormField]:
    if not data.startswith(delimiter):
        raise _malformed("does not begin with its boundary")
    at = len(delimiter)
    count = 0
    while data[at : at + 2] == b"\r\n":
        count += 1
        if count > MAX_FIELDS:
            raise invalid_field("body", f"has more than {MAX_FIELDS} fields.")
        start = at + 2
        head_end = data.find(b"\r\n\r\n", start, start + _MAX_HEAD)
        if head_end < 0:
            raise _malformed("has a field without an end of its headers")
        end = data.find(b"\r\n" + delimiter, head_end + 4)
        if end < 0:
            raise _malformed("ends within a field")
        yield _field(data[start:head_end], data[head_end + 4 : end])
        at = end + 2 + len(delimiter)
    if data[at : at + 2] != b"--":
        raise _malformed("does not end with its boundary")


def _field(head: bytes, value: bytes) -> FormField:
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise _malformed("has headers that are not UTF-8") from error
    headers = {name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    disposition = headers.get("content-disposition", "")
    named = {name.lower(): _ESCAPED.sub(r"\1", text) for name, text in _PARAMETER.findall(disposition)}
    if not disposition.lower().startswith("form-data") or not named.get("name"):
        raise _malformed("has a field without a name")
    return FormField(
        name=named["name"],
        value=value,
        filename=named.get("filename", ""),
        content_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
    )


def _malformed(how: str) -> Exception:
    return invalid_field("body", f"is no form: it {how}.")
