"""Reads the case files, and runs a decoder over recorded bytes as the network might have brought them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any

import orjson
import yaml
from google.protobuf.json_format import ParseDict

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import Role
from llmgateway_server.events import Fold
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.framing import READERS
from tests.contract.providers.formats import FORMATS, Format

HELLO = {"model": "models/m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello"}]}]}


@dataclass(frozen=True)
class Case:
    """One case of a file, for one wire format."""

    format: Format
    behaviour: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.format.name}/{self.behaviour}/{self.fields['name']}"

    @property
    def request(self) -> ChatRequest:
        return ParseDict({**HELLO, **self.fields.get("request", {})}, ChatRequest())

    def call(self, *, stream: bool) -> ProviderCall:
        endpoint = self.format.endpoint(vendor=self.fields.get("vendor", ""), model=self.fields.get("model", "model-1"))
        return ProviderCall(
            request=self.request, endpoint=endpoint, stream=stream, deadline=inf, request_id="request-1"
        )

    @property
    def whole(self) -> bytes:
        """The body of the whole answer."""
        value = self.fields["whole"]
        return value.encode() if isinstance(value, str) else orjson.dumps(value)

    @property
    def stream(self) -> bytes:
        """The body of the streamed answer."""
        return self.fields["stream"].encode()

    @property
    def answer(self) -> ChatResponse:
        """What the answer folds to."""
        response = ParseDict(self.fields["answer"], ChatResponse())
        response.message.role = Role.ROLE_ASSISTANT
        return response


def load(*, having: str = "") -> list[Case]:
    """All cases of all wire formats, or those that have a field."""
    return [case for each in FORMATS for case in cases_of(each) if not having or having in case.fields]


@cache
def cases_of(each: Format) -> tuple[Case, ...]:
    """All cases of one wire format."""
    files = [(path.stem, yaml.safe_load(path.read_text())) for path in sorted(each.folder.glob("*.yaml"))]
    return tuple(Case(each, behaviour, fields) for behaviour, file in files for fields in file["cases"])


def decode(case: Case, pieces: Iterable[bytes]) -> list[ChatEvent]:
    """The events of a streamed answer that the network brings in these pieces. Raises what the decoder raises."""
    reader = READERS[case.format.wire.framing]()
    decoder = case.format.wire.decoder(case.call(stream=True))
    events: list[ChatEvent] = []
    for piece in pieces:
        if frames := reader.feed(piece):
            events += decoder.feed(frames)
    events += decoder.feed(reader.end())
    if not decoder.done:
        events += decoder.end()
    return events


def folded(events: Iterable[ChatEvent]) -> ChatResponse:
    """The whole answer that the events add up to."""
    fold = Fold()
    for event in events:
        fold.add(event)
    assert fold.done, "the answer has no last event"
    return fold.response


def single_bytes(body: bytes) -> Iterator[bytes]:
    """The body, a byte a piece."""
    for at in range(len(body)):
        yield body[at : at + 1]
