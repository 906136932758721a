"""What a wire format can do besides conversations: one small format an operation, looked up by the request's type."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from llmgateway_server.errors import unsupported
from llmgateway_server.ports.operations import OperationCall, OperationResponse
from llmgateway_server.providers.wire import Headers, HttpRequest

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class OperationFormat(Protocol):
    """One operation of one dialect. It holds no state, and may be used by many tasks at a time."""

    def encode(self, call: OperationCall) -> HttpRequest:
        """The request that says what the call says; raises UNSUPPORTED_FEATURE for what the dialect cannot say."""
        ...

    def decode(self, call: OperationCall, headers: Headers, body: bytes) -> OperationResponse:
        """The answer in a body, with `serving` set. Raises PROVIDER_PROTOCOL_ERROR for what is no answer."""
        ...


Operations = Mapping[type, OperationFormat]
"""What one wire format can do, by the type of the request."""


class HttpOperations:
    """An `OperationAdapter` for a wire format's operations."""

    def __init__(self, formats: Operations) -> None:
        self._formats = formats

    async def run(self, call: OperationCall) -> AsyncGenerator[OperationResponse]:
        operation = self._formats.get(type(call.request))
        if operation is None:
            wanted = _WORD.sub(" ", type(call.request).__name__.removesuffix("Request")).lower()
            raise unsupported("model", f"{call.endpoint.provider!r} cannot {wanted}; name a model of one that can.")
        yield operation.decode(call, {}, operation.encode(call).body)
