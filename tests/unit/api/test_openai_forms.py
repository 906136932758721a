"""Forms: what browsers and SDKs send is read, and what is no form is refused."""

from __future__ import annotations

import httpx
import pytest

from llmgateway_server.api.openai.forms import MAX_FIELDS, FormField, read_form
from llmgateway_server.errors import GatewayError

TYPE = "multipart/form-data; boundary=b"


def field(name: str = "a", value: bytes = b"1") -> bytes:
    return b'--b\r\ncontent-disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"


END = b"--b--\r\n"


def test_what_a_client_sends_is_read() -> None:
    sound = bytes(range(256)) * 40 + b"\r\n--b\r\n"
    request = httpx.Request(
        "POST",
        "http://x",
        data={"model": "m", "timestamp_granularities[]": ["word", "segment"]},
        files={"file": ('ü"a.wav', sound, "audio/wav; x=1")},
    )

    fields = read_form(request.headers["content-type"], request.read())

    assert [(each.name, each.value) for each in fields] == [
        ("model", b"m"),
        ("timestamp_granularities[]", b"word"),
        ("timestamp_granularities[]", b"segment"),
        ("file", sound),
    ]
    assert fields[3].content_type == "audio/wav"
    assert fields[3].filename.endswith("a.wav")


@pytest.mark.parametrize(
    "content_type",
    ['multipart/form-data; boundary="b"', "Multipart/Form-Data; charset=utf-8; BOUNDARY=b", TYPE + "; x=y"],
)
def test_a_boundary_is_found(content_type: str) -> None:
    assert read_form(content_type, field() + END) == [FormField("a", b"1", "", "")]


def test_a_field_may_be_empty_or_hold_what_looks_like_a_boundary() -> None:
    values = [b"", b"--b", b"\r\n", b"x\r\n-b", b"--b--"]

    assert [each.value for each in read_form(TYPE, b"".join(field(value=each) for each in values) + END)] == values


REFUSED = {
    "no type": ("", field() + END),
    "another type": ("application/json", b"{}"),
    "no boundary": ("multipart/form-data", field() + END),
    "a long boundary": ("multipart/form-data; boundary=" + "b" * 71, field() + END),
    "nothing": (TYPE, b""),
    "no fields": (TYPE, END),
    "something before": (TYPE, b"x" + field() + END),
    "no end": (TYPE, field()),
    "an end within a field": (TYPE, field()[:-3]),
    "an end within the headers": (TYPE, b"--b\r\ncontent-disposition: form-data"),
    "endless headers": (TYPE, b"--b\r\nx: " + b"y" * 9000 + b"\r\n\r\n1\r\n" + END),
    "no name": (TYPE, b"--b\r\ncontent-disposition: form-data\r\n\r\n1\r\n" + END),
    "no disposition": (TYPE, b"--b\r\ncontent-type: text/plain\r\n\r\n1\r\n" + END),
    "headers of no alphabet": (TYPE, b"--b\r\n\xff: x\r\n\r\n1\r\n" + END),
    "too many fields": (TYPE, field() * (MAX_FIELDS + 1) + END),
}


@pytest.mark.parametrize(("content_type", "data"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_form_is_refused(content_type: str, data: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        read_form(content_type, data)

    assert (caught.value.reason_name, caught.value.field) == ("INVALID_FIELD", "body")


def test_every_cut_is_refused() -> None:
    whole = field() + field("file", b"12") + END
    for cut in range(len(whole) - 2):
        with pytest.raises(GatewayError):
            read_form(TYPE, whole[:cut])
