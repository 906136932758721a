"""The rows of the table, always the same and in the same order, and the load that each of them is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Message, Part, Role
from tests.bench.answers import WORD, text
from tests.bench.gateway import MODEL, Gateway
from tests.bench.tally import Job

WHOLE_WORDS = 16
STREAM_WORDS = 64
EVENTS_PER_WRITE = 8
"""Events of a stream that leave the upstream together."""

Answers = Literal["upstream", "openai", "fake"]
Way = Literal["direct", "rest", "grpc"]
Shape = Literal["whole", "stream"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    provider: Answers
    """Who answers: the upstream itself, or the gateway by its `openai` or `fake` provider."""
    way: Way
    """Straight to the upstream, to the gateway through Envoy, or to its gRPC port."""
    shape: Shape
    connections: int

    @property
    def name(self) -> str:
        """What the row is called in the table, in JSON and by `--only`."""
        return f"{self.provider} {self.way} {self.shape} {self.connections}"

    @property
    def words(self) -> int:
        """Words of the answer, each a token."""
        return STREAM_WORDS if self.shape == "stream" else WHOLE_WORDS


def _rows(provider: Answers, way: Way) -> list[Row]:
    shapes: tuple[Shape, ...] = ("whole", "stream")
    return [Row(provider, way, shape, connections) for shape in shapes for connections in (1, 32)]


ROWS: tuple[Row, ...] = (
    *_rows("upstream", "direct"),
    *_rows("openai", "rest"),
    *_rows("openai", "grpc"),
    *_rows("fake", "rest"),
    *_rows("fake", "grpc"),
)


def job(row: Row, gateway: Gateway, upstream_port: int, *, duration: float, warmup: float) -> Job:
    """The load of a row."""
    port = {"direct": upstream_port, "rest": gateway.rest_port, "grpc": gateway.grpc_port}[row.way]
    protocol, path, body = _grpc_request(row) if row.way == "grpc" else _http_request(row)
    return Job(
        protocol=protocol,
        host="127.0.0.1",
        port=port,
        path=path,
        body=body,
        word=WORD,
        words=row.words,
        stream=row.shape == "stream",
        connections=row.connections,
        key=gateway.key,
        duration=duration,
        warmup=warmup,
    )


def _model(row: Row) -> str:
    return "fake/echo" if row.provider == "fake" else MODEL


def _http_request(row: Row) -> tuple[Literal["http"], str, str]:
    # Every row asks with the same words, so that requests are of one size; `fake/echo` answers with them.
    body: dict[str, Any] = {"model": _model(row), "messages": [{"role": "user", "content": text(row.words)}]}
    if row.shape == "stream":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return "http", "/v1/chat/completions", json.dumps(body, separators=(",", ":"))


def _grpc_request(row: Row) -> tuple[Literal["grpc"], str, str]:
    message = Message(role=Role.ROLE_USER, parts=[Part(text=text(row.words))])
    request = ChatRequest(model=f"models/{_model(row)}", messages=[message])
    method = "StreamChat" if row.shape == "stream" else "CompleteChat"
    return "grpc", f"/llmgateway.v1.ChatService/{method}", request.SerializeToString().decode("latin-1")
