"""Writes `multipart/form-data` bodies, as uploads want them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form: a text, or a file where it has a file name."""

    name: str
    value: bytes | str
    filename: str = ""
    content_type: str = ""


def form_body(fields: Sequence[FormField]) -> tuple[str, bytes]:
    """The content type of a form, which names its boundary, and its body."""
    # 128 random bits do not occur in a file by chance, and whoever sent the file cannot know them.
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for each in fields:
        pieces.append(f"--{boundary}\r\n{_head(each)}\r\n".encode())
        pieces.append(each.value.encode() if isinstance(each.value, str) else each.value)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)


def _head(each: FormField) -> str:
    disposition = f'content-disposition: form-data; name="{_quoted(each.name)}"'
    if each.filename:
        disposition += f'; filename="{_quoted(each.filename)}"'
    content_type = f"content-type: {_one_line(each.content_type)}\r\n" if each.content_type else ""
    return f"{disposition}\r\n{content_type}"


def _quoted(text: str) -> str:
    """A name between quotes, escaped as browsers do it."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")
