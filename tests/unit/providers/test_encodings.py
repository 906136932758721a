"""Compressed bodies are expanded piece by piece, and no further than is sane."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.encodings import FREE_BYTES, Expander, expander


def raw_deflate(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


def twice(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


FORMS = {
    "identity": ("", bytes),
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "two gzip bodies": ("gzip", twice),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
}


def expanded(expand: Expander, packed: bytes, size: int) -> bytes:
    """All of it, fed in pieces of this size."""
    return b"".join(piece for at in range(0, len(packed), size) for piece in expand.feed(packed[at : at + size]))


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(max_size=300), size=st.integers(2, 50))
def test_body_is_the_same_again(form: str, data: bytes, size: int) -> None:
    name, pack = FORMS[form]

    assert expanded(expander(name), pack(data), size) == data


@pytest.mark.parametrize("form", FORMS)
def test_text_that_compresses_well_comes_whole(form: str) -> None:
    name, pack = FORMS[form]
    data = b"a" * FREE_BYTES

    assert expanded(expander(name), pack(data), 1 << 16) == data


@pytest.mark.parametrize("form", ["gzip", "deflate"])
def test_bomb_is_refused_before_it_takes_memory(form: str) -> None:
    name, pack = FORMS[form]
    bomb = pack(b"\0" * (64 * 1024 * 1024))
    sizes: list[int] = []
    with pytest.raises(GatewayError) as caught:
        sizes.extend(len(piece) for piece in expander(name).feed(bomb))

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"
    assert sum(sizes) <= 17 * 1024 * 1024
    assert max(sizes) <= 256 * 1024


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", b"plain text"),
        ("deflate", b"plain text"),
        ("gzip", gzip.compress(b"x")[:-4] + b"oops"),
        ("deflate", zlib.compress(b"x") + b"more"),
    ],
    ids=["not gzip", "not deflate", "a wrong checksum", "more than there should be"],
)
def test_broken_body_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        list(expander(name).feed(body))

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, br", "x" * 1000])
def test_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        expander(name)

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"
    assert len(caught.value.message) < 200
