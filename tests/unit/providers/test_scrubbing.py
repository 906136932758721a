"""No text that passes here gives a credential away."""

from __future__ import annotations

import string
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.providers.scrubbing import MAX_CHARACTERS, scrub

secrets = st.text(string.ascii_letters + string.digits + "-_./+=", min_size=12, max_size=60)
SECRET = "Zq4-key/of+the=gateway"


@given(secrets, st.text(max_size=50), st.text(max_size=50))
def test_no_piece_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    scrubbed = scrub(f"{before} {secret} {after}", secret)

    kept = " ".join((before + " " + after).split())
    for start in range(len(secret) - 11):
        piece = secret[start : start + 12]
        assert piece not in scrubbed or piece in kept


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET, safe=""),
        b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
        SECRET[:12],
        SECRET[-12:],
    ],
)
def test_every_spelling_is_starred_out(spelling: str) -> None:
    assert scrub(f"bad key {spelling} given", SECRET) == "bad key *** given"


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefghijklmnop.",
        "Bearer abc.def.ghi is wrong",
        "key hf_abcdefghijklmnopqrstuvwx",
    ],
)
def test_what_looks_like_a_key_is_starred_out(text: str) -> None:
    assert "***" in scrub(text, "")


def test_ordinary_words_stay() -> None:
    text = "The model `gpt-x` does not exist; the task-oriented one does."

    assert scrub(text, SECRET) == text


def test_dummy_credentials_do_not_star_out_words() -> None:
    assert scrub("the body is EMPTY", "EMPTY") == "the body is EMPTY"


@given(st.text(max_size=3000))
def test_text_is_short_and_printable(text: str) -> None:
    scrubbed = scrub(text, SECRET)

    assert len(scrubbed) <= MAX_CHARACTERS
    assert scrubbed.isprintable()
