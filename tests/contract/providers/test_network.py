"""What the network may do to an answer: each fault ends in its documented error, and none in a hang or half a lie."""

from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
import zlib
from contextlib import aclosing
from datetime import timedelta
from email.utils import format_datetime

import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway_server.ports.provider import Timeouts
from llmgateway_server.providers.client import MAX_HEADER_BYTES
from llmgateway_server.providers.framing import MAX_FRAME_BYTES
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import folded
from tests.contract.providers.conftest import Line
from tests.contract.providers.formats import SECRET
from tests.support.raw_server import Connection, Play, chunk, raw_server, response, stream_head

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
SOON = 0.5
"""Seconds within which a connection must be closed. It takes a thousandth of it, where the machine has time."""


def sends(*pieces: bytes, close: bool = False) -> Play:
    """Answers every request with these pieces."""

    async def play(connection: Connection) -> None:
        await connection.send(*pieces)
        if close:
            connection.close()

    return play


def stalls(*pieces: bytes) -> Play:
    """Sends these pieces and says nothing more."""

    async def play(connection: Connection) -> None:
        await connection.send(*pieces)
        await connection.closed_by_peer()

    return play


def answer(
    line: Line,
    *,
    stream: bool,
    framing: str = "length",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The recorded answer, whole or as a stream."""
    recorded = line.text.stream if stream else line.text.whole
    content_type = line.format.wire.framing.value if stream else "application/json"
    return response(
        recorded if body is None else body,
        content_type=content_type,
        framing=framing,
        headers=headers,
    )


def head(line: Line) -> bytes:
    return stream_head(line.format.wire.framing.value)


def first_text(line: Line) -> bytes:
    """The recorded stream up to and with its first text."""
    stream, end = line.text.stream, line.format.frame_end
    return stream[: stream.index(end, stream.index(b"Hello")) + len(end)]


class TestTransfer:
    """Ways in which a good answer may come."""

    @both
    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    async def test_body_comes_in_any_framing(self, line: Line, stream: bool, framing: str) -> None:
        data = answer(line, stream=stream, framing=framing)
        async with raw_server(sends(data, close=framing == "close")) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert folded(outcome.events) == line.text.answer

    @both
    async def test_body_comes_byte_by_byte(self, line: Line, stream: bool) -> None:
        data = answer(line, stream=stream, framing="chunked")
        async with raw_server(sends(*(data[at : at + 1] for at in range(len(data))))) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert folded(outcome.events) == line.text.answer

    async def test_one_read_is_one_delta(self, line: Line) -> None:
        async with raw_server(sends(answer(line, stream=True))) as server:
            outcome = await line.run(line.call(server.url, stream=True))

        assert [event.WhichOneof("event") for event in outcome.events] == ["started", "part_delta", "finished"]

    @both
    @pytest.mark.parametrize("encoding", ["gzip", "gzip twice", "deflate", "raw deflate"])
    async def test_body_is_compressed_although_nobody_asked(self, line: Line, stream: bool, encoding: str) -> None:
        plain = line.text.stream if stream else line.text.whole
        raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = {
            "gzip": gzip.compress(plain),
            "gzip twice": gzip.compress(plain[:50]) + gzip.compress(plain[50:]),
            "deflate": zlib.compress(plain),
            "raw deflate": raw.compress(plain) + raw.flush(),
        }[encoding]
        data = answer(
            line,
            stream=stream,
            body=packed,
            headers={"content-encoding": "deflate" if "deflate" in encoding else "gzip"},
        )
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert folded(outcome.events) == line.text.answer
        assert b"accept-encoding: identity" in server.requests[0].head.lower()

    async def test_stream_that_was_not_asked_for_is_read(self, line: Line) -> None:
        async with raw_server(sends(answer(line, stream=True))) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert folded(outcome.events) == line.text.answer

    async def test_whole_answer_that_was_not_asked_for_is_read(self, line: Line) -> None:
        async with raw_server(sends(answer(line, stream=False))) as server:
            outcome = await line.run(line.call(server.url, stream=True))

        assert folded(outcome.events) == line.text.answer

    @both
    async def test_missing_content_type_is_what_was_asked_for(self, line: Line, stream: bool) -> None:
        data = response(line.text.stream if stream else line.text.whole, content_type="")
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert folded(outcome.events) == line.text.answer

    @both
    async def test_connection_is_used_again(self, line: Line, stream: bool) -> None:
        data = answer(line, stream=stream, framing="chunked")
        # The end of the body comes in a write of its own, as most servers send it.
        async with raw_server(sends(data.removesuffix(b"0\r\n\r\n"), b"0\r\n\r\n")) as server:
            for _ in range(3):
                outcome = await line.run(line.call(server.url, stream=stream))
                assert outcome.error is None

        assert server.connections == 1

    async def test_large_request_arrives_whole(self, line: Line) -> None:
        request = ChatRequest()
        request.messages.add(role="ROLE_USER").parts.add(text="long " * 1_000_000)
        async with raw_server(sends(answer(line, stream=False))) as server:
            outcome = await line.run(line.call(server.url, stream=False, request=request))

        assert outcome.error is None
        assert len(server.requests[0].body) > 5_000_000

    async def test_malformed_frame_is_skipped_and_told(self, line: Line, caplog: pytest.LogCaptureFixture) -> None:
        body = line.text.stream.replace(line.format.frame_end, line.format.frame_end + line.format.frame(b"{oops"), 1)
        async with raw_server(sends(answer(line, stream=True, body=body))) as server:
            with caplog.at_level(logging.WARNING):
                outcome = await line.run(line.call(server.url, stream=True))

        assert folded(outcome.events) == line.text.answer
        assert [record.message for record in caplog.records] == ["malformed frame skipped"]


class TestBreaks:
    """Answers that end before their time, or never begin."""

    @both
    async def test_cut_at_every_byte(self, line: Line, stream: bool) -> None:
        recorded = line.tools
        content_type = line.format.wire.framing.value if stream else "application/json"
        body = recorded.stream if stream else recorded.whole
        data = response(body, content_type=content_type, framing="chunked")

        async def cut_at(size: int) -> None:
            async with raw_server(sends(data[:size], close=True)) as server:
                outcome = await line.run(line.call(server.url, stream=stream))
            if outcome.error is None:
                whole = folded(outcome.events)
                assert whole.message == recorded.answer.message, size
                assert whole.finish_reason == recorded.answer.finish_reason, size
            elif outcome.events:
                assert outcome.reason == "STREAM_BROKEN", size
            else:
                assert outcome.reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_PROTOCOL_ERROR"), size

        for start in range(0, len(data), 50):
            async with asyncio.TaskGroup() as group:
                for size in range(start, min(start + 50, len(data))):
                    group.create_task(cut_at(size))

    @both
    @pytest.mark.parametrize("where", ["before the headers", "in the headers", "in the body"])
    async def test_reset(self, line: Line, stream: bool, where: str) -> None:
        data = answer(line, stream=stream, framing="chunked")
        sent = {"before the headers": 0, "in the headers": 20, "in the body": data.index(b"\r\n\r\n") + 30}[where]

        async def play(connection: Connection) -> None:
            await connection.send(data[:sent])
            connection.reset()

        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"
        assert outcome.error is not None
        assert outcome.error.retryable
        assert not outcome.events

    async def test_reset_after_the_first_event(self, line: Line) -> None:
        proceed = asyncio.Event()

        async def play(connection: Connection) -> None:
            await connection.send(head(line) + chunk(first_text(line)))
            await proceed.wait()
            connection.reset()

        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=True), on_event=proceed.set)

        assert [event.part_delta.text for event in outcome.events] == ["", "Hello"]
        assert outcome.reason == "STREAM_BROKEN"
        assert outcome.error is not None
        assert outcome.error.metadata["provider"] == "providers/under-test"
        assert outcome.error.metadata["cause"] == "PROVIDER_UNAVAILABLE"

    async def test_nobody_listens(self, line: Line) -> None:
        async with raw_server(sends(b"")) as server:
            url = server.url
        outcome = await line.run(line.call(url, stream=False))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"

    async def test_name_is_not_known(self, line: Line) -> None:
        outcome = await line.run(line.call("http://provider.invalid/v1", stream=False))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"

    async def test_address_is_none(self, line: Line) -> None:
        outcome = await line.run(line.call("http://[", stream=False))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"
        assert outcome.error is not None
        assert not outcome.error.retryable

    @both
    @pytest.mark.parametrize(
        "junk", [b"SSH-2.0-OpenSSH_9\r\n", b"\x15\x03\x03\x00\x02\x02\x46", b"HTTP/1.1 OK\r\n\r\n"]
    )
    async def test_answer_is_not_http(self, line: Line, stream: bool, junk: bytes) -> None:
        async with raw_server(sends(junk, close=True)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason in ("PROVIDER_PROTOCOL_ERROR", "PROVIDER_UNAVAILABLE")


class TestBounds:
    """Answers that are too much, or not what they claim to be."""

    @both
    @pytest.mark.parametrize(
        "headers",
        [
            {f"x-flood-{number}": "x" for number in range(1000)},
            {"x-flood": "x" * (MAX_HEADER_BYTES + 1)},
        ],
        ids=["many headers", "a large header"],
    )
    async def test_header_flood(self, line: Line, stream: bool, headers: dict[str, str]) -> None:
        data = answer(line, stream=stream, headers=headers)
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    async def test_gzip_bomb(self, line: Line, stream: bool) -> None:
        bomb = gzip.compress(b" " * (32 * 1024 * 1024))
        data = answer(line, stream=stream, body=bomb, headers={"content-encoding": "gzip"})
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    async def test_compression_that_is_broken(self, line: Line, stream: bool) -> None:
        data = answer(line, stream=stream, body=b"\x1f\x8bnot gzip", headers={"content-encoding": "gzip"})
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    async def test_compression_that_is_cut_off(self, line: Line, stream: bool) -> None:
        packed = gzip.compress(line.text.stream if stream else line.text.whole)[:60]
        async with raw_server(
            sends(answer(line, stream=stream, body=packed, headers={"content-encoding": "gzip"}))
        ) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.error is not None

    async def test_compression_that_nobody_knows(self, line: Line) -> None:
        async with raw_server(sends(answer(line, stream=False, headers={"content-encoding": "br"}))) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    async def test_frame_without_end(self, line: Line) -> None:
        endless = [chunk(b"data: " + b"x" * (1 << 20))] * (MAX_FRAME_BYTES // (1 << 20) + 2)
        async with raw_server(sends(head(line), *endless)) as server:
            outcome = await line.run(line.call(server.url, stream=True))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    async def test_whole_answer_without_end(self, line: Line) -> None:
        piece = chunk(b" " * (1 << 20))

        async def play(connection: Connection) -> None:
            await connection.send(stream_head("application/json"), *([piece] * 80))

        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    @pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", "application/octet-stream"])
    async def test_wrong_content_type(self, line: Line, stream: bool, content_type: str) -> None:
        data = response(b"<html><body>Sign in</body></html>", content_type=content_type)
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    async def test_html_that_claims_to_be_the_answer(self, line: Line, stream: bool) -> None:
        data = answer(line, stream=stream, body=b"<html>\n\n<body>\n\nSign in</body></html>\n\n")
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"

    @both
    async def test_empty_answer(self, line: Line, stream: bool) -> None:
        async with raw_server(sends(answer(line, stream=stream, body=b""))) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == "PROVIDER_PROTOCOL_ERROR"


class TestTime:
    """Answers that come late, or not at all."""

    @both
    async def test_silence(self, line: Line, stream: bool) -> None:
        timeouts = Timeouts(first_event=0.1, total=0.2)
        async with raw_server(stalls()) as server:
            outcome = await line.run(line.call(server.url, stream=stream, timeouts=timeouts))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"
        assert outcome.error is not None
        # A whole answer is silent until it is done, so only the whole time counts.
        assert outcome.error.metadata["timeout"] == ("first_event" if stream else "total")

    async def test_comments_are_no_answer(self, line: Line) -> None:
        async def play(connection: Connection) -> None:
            await connection.send(head(line))
            while True:
                await connection.send(chunk(line.format.keep_alive))
                await asyncio.sleep(0.01)

        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=True, timeouts=Timeouts(first_event=0.15)))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"
        assert outcome.error is not None
        assert outcome.error.metadata["timeout"] == "first_event"

    @pytest.mark.parametrize("keeps", ["comments", "empty deltas"])
    async def test_signs_of_life_are_no_text(self, line: Line, keeps: str) -> None:
        frame = line.format.keep_alive if keeps == "comments" else line.format.empty_frame

        async def play(connection: Connection) -> None:
            await connection.send(head(line) + chunk(first_text(line)))
            while True:
                await connection.send(chunk(frame))
                await asyncio.sleep(0.01)

        started = asyncio.get_running_loop().time()
        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=True, timeouts=Timeouts(idle=0.15)))
        took = asyncio.get_running_loop().time() - started

        assert outcome.reason == "STREAM_BROKEN"
        assert outcome.error is not None
        assert outcome.error.metadata["timeout"] == "idle"
        assert took < 2
        assert [event.WhichOneof("event") for event in outcome.events] == ["started", "part_delta"]

    async def test_text_in_time_is_no_silence(self, line: Line) -> None:
        text = first_text(line)
        end = line.format.frame_end
        last = text.removesuffix(end).rpartition(end)[2] + end
        events = [text, *([last] * 8), line.text.stream.removeprefix(text)]

        async def play(connection: Connection) -> None:
            await connection.send(head(line))
            for event in events:
                await connection.send(chunk(event))
                await asyncio.sleep(0.03)
            await connection.send(b"0\r\n\r\n")

        async with raw_server(play) as server:
            timeouts = Timeouts(first_event=0.2, idle=0.2)
            outcome = await line.run(line.call(server.url, stream=True, timeouts=timeouts))

        assert outcome.error is None

    async def test_slow_consumer_is_not_the_providers_silence(self, line: Line) -> None:
        text = first_text(line)
        consumed = asyncio.Event()

        async def play(connection: Connection) -> None:
            await connection.send(head(line) + chunk(text))
            await consumed.wait()
            await connection.send(chunk(line.text.stream.removeprefix(text)) + b"0\r\n\r\n")

        async with raw_server(play) as server:
            kinds: list[str | None] = []
            async for event in line.adapter.chat(line.call(server.url, stream=True, timeouts=Timeouts(idle=0.1))):
                kinds.append(event.WhichOneof("event"))
                if kinds == ["started", "part_delta"]:
                    await asyncio.sleep(0.25)
                    consumed.set()

        assert kinds[-1] == "finished"

    @both
    async def test_deadline_of_the_caller(self, line: Line, stream: bool) -> None:
        async with raw_server(stalls()) as server:
            outcome = await line.run(line.call(server.url, stream=stream, seconds=0.1))

        assert outcome.reason == "DEADLINE_EXCEEDED"

    @both
    async def test_deadline_of_the_attempt_is_not_the_callers(self, line: Line, stream: bool) -> None:
        timeouts = Timeouts(total=0.15)
        async with raw_server(stalls()) as server:
            outcome = await line.run(line.call(server.url, stream=stream, seconds=0.15, timeouts=timeouts))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"
        assert outcome.error is not None
        assert outcome.error.metadata["timeout"] == "total"

    async def test_deadline_within_the_answer(self, line: Line) -> None:
        async with raw_server(stalls(head(line) + chunk(first_text(line)))) as server:
            outcome = await line.run(line.call(server.url, stream=True, seconds=0.15))

        assert outcome.reason == "DEADLINE_EXCEEDED"
        assert len(outcome.events) == 2

    async def test_deadline_that_has_passed(self, line: Line) -> None:
        async with raw_server(sends(answer(line, stream=False))) as server:
            outcome = await line.run(line.call(server.url, stream=False, seconds=-1))

        assert outcome.reason == "DEADLINE_EXCEEDED"
        assert not server.requests

    async def test_total_within_the_answer(self, line: Line) -> None:
        async with raw_server(stalls(head(line) + chunk(first_text(line)))) as server:
            outcome = await line.run(line.call(server.url, stream=True, timeouts=Timeouts(total=0.15)))

        assert outcome.reason == "STREAM_BROKEN"
        assert outcome.error is not None
        assert outcome.error.metadata["timeout"] == "total"


class TestLeaving:
    """The caller goes away, or the gateway stops."""

    async def test_closing_the_iterator_closes_the_connection(self, line: Line) -> None:
        closed = asyncio.Event()

        async def play(connection: Connection) -> None:
            await connection.send(head(line) + chunk(first_text(line)))
            await connection.closed_by_peer()
            closed.set()

        async with raw_server(play) as server:
            async with aclosing(line.adapter.chat(line.call(server.url, stream=True))) as events:
                await anext(events)
            async with asyncio.timeout(SOON):
                await closed.wait()

    @both
    async def test_cancelling_closes_the_connection(self, line: Line, stream: bool) -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def play(connection: Connection) -> None:
            asked.set()
            await connection.closed_by_peer()
            closed.set()

        async with raw_server(play) as server:
            task = asyncio.create_task(line.run(line.call(server.url, stream=stream)))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(SOON):
                await closed.wait()

    async def test_cancelling_within_the_stream_closes_the_connection(self, line: Line) -> None:
        begun, closed = asyncio.Event(), asyncio.Event()

        async def play(connection: Connection) -> None:
            await connection.send(head(line) + chunk(first_text(line)))
            await connection.closed_by_peer()
            closed.set()

        async with raw_server(play) as server:
            task = asyncio.create_task(line.run(line.call(server.url, stream=True), on_event=begun.set))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(SOON):
                await closed.wait()

    @both
    async def test_closing_the_client_ends_calls_without_an_answer(self, line: Line, stream: bool) -> None:
        asked = asyncio.Event()

        async def play(connection: Connection) -> None:
            asked.set()
            await connection.closed_by_peer()

        async with raw_server(play) as server:
            task = asyncio.create_task(line.run(line.call(server.url, stream=stream)))
            await asked.wait()
            await line.client.close()

            assert (await task).reason == "PROVIDER_UNAVAILABLE"

    async def test_closing_the_client_ends_calls(self, line: Line) -> None:
        begun = asyncio.Event()
        async with raw_server(stalls(head(line) + chunk(first_text(line)))) as server:
            task = asyncio.create_task(line.run(line.call(server.url, stream=True), on_event=begun.set))
            await begun.wait()
            await line.client.close()

            assert (await task).reason == "STREAM_BROKEN"
            assert (await line.run(line.call(server.url, stream=True))).reason == "PROVIDER_UNAVAILABLE"


class TestRefusals:
    """The provider says no."""

    @both
    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (301, "PROVIDER_PROTOCOL_ERROR"),
            (400, "PROVIDER_REJECTED_REQUEST"),
            (401, "PROVIDER_REJECTED_CREDENTIAL"),
            (403, "PROVIDER_REJECTED_CREDENTIAL"),
            (404, "PROVIDER_UNAVAILABLE"),
            (408, "PROVIDER_UNAVAILABLE"),
            (413, "CONTEXT_LENGTH_EXCEEDED"),
            (422, "PROVIDER_REJECTED_REQUEST"),
            (429, "PROVIDER_RATE_LIMITED"),
            (500, "PROVIDER_UNAVAILABLE"),
            (502, "PROVIDER_UNAVAILABLE"),
            (503, "PROVIDER_UNAVAILABLE"),
            (529, "PROVIDER_UNAVAILABLE"),
        ],
    )
    async def test_status(self, line: Line, stream: bool, status: int, reason: str) -> None:
        data = response(
            b"<html>no</html>",
            status=f"{status} No",
            content_type="text/html",
            headers={"x-request-id": "req_1", "location": "http://127.0.0.1:1/"},
        )
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=stream))

        assert outcome.reason == reason
        assert outcome.error is not None
        assert outcome.error.metadata["http_status"] == str(status)
        assert outcome.error.metadata["provider"] == "providers/under-test"
        assert outcome.error.metadata["upstream_request_id"] == "req_1"
        assert len(server.requests) == 1, "a redirect was followed"

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("headers", "wanted"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after": "-3"}, 0.0),
            ({"retry-after": "99999999"}, 86_400.0),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
            ({"x-ms-retry-after-ms": "500"}, 0.5),
            ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ],
        ids=str,
    )
    async def test_retry_after(self, line: Line, status: int, headers: dict[str, str], wanted: float | None) -> None:
        async with raw_server(sends(response(b"{}", status=f"{status} No", headers=headers))) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.error is not None
        assert outcome.error.retry_after == wanted

    async def test_retry_after_as_a_date(self, line: Line) -> None:
        date = format_datetime(SystemClock().now() + timedelta(hours=1), usegmt=True)
        data = response(b"{}", status="503 No", headers={"retry-after": date})
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.error is not None
        assert outcome.error.retry_after == pytest.approx(3600, abs=5)

    async def test_rate_headers_tell_when_nothing_else_does(self, line: Line) -> None:
        headers = {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1m30s",
            "x-ratelimit-remaining-tokens": "1000",
            "x-ratelimit-reset-tokens": "6m0s",
        }
        async with raw_server(sends(response(b"{}", status="429 No", headers=headers))) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.error is not None
        assert outcome.error.retry_after == 90.0

    @pytest.mark.parametrize(("said", "wanted"), [("true", True), ("false", False)])
    async def test_provider_says_whether_to_retry(self, line: Line, said: str, wanted: bool) -> None:
        data = response(b"{}", status="429 No", headers={"x-should-retry": said})
        async with raw_server(sends(data)) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.error is not None
        assert outcome.error.retryable is wanted

    async def test_error_body_is_cut_off_and_scrubbed(self, line: Line) -> None:
        quoted = f'{{"error":{{"message":"Key {SECRET} is bad: \\u0000\\n{"x" * 5000}"}}}}'.encode()
        async with raw_server(sends(response(quoted, status="400 No"))) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.error is not None
        assert SECRET not in outcome.error.message
        assert "***" in outcome.error.message
        assert len(outcome.error.message) <= 500
        assert outcome.error.message.isprintable()
        assert SECRET not in "".join(traceback.format_exception(outcome.error))
        assert SECRET not in repr(line.call(server.url, stream=False))

    async def test_endless_error_body(self, line: Line) -> None:
        async def play(connection: Connection) -> None:
            await connection.send(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(1000):
                await connection.send(chunk(b"x" * 65536))

        async with raw_server(play) as server:
            outcome = await line.run(line.call(server.url, stream=False))

        assert outcome.reason == "PROVIDER_UNAVAILABLE"

    async def test_environment_and_cookies_change_nothing(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        data = answer(line, stream=False, headers={"set-cookie": "session=1"})
        async with raw_server(sends(data)) as server, raw_server(sends(b"")) as canary:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
            for _ in range(2):
                outcome = await line.run(line.call(server.url, stream=False))
                assert outcome.error is None

        assert not canary.connections
        assert not any(b"cookie" in request.head.lower() for request in server.requests)
