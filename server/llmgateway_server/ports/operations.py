"""What the core needs of a provider besides conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from llmgateway.v1.chat_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    EmbedContentRequest,
    EmbedContentResponse,
)
from llmgateway.v1.content_service_pb2 import (
    GenerateImagesRequest,
    GenerateImagesResponse,
    ModerateContentRequest,
    ModerateContentResponse,
    RerankDocumentsRequest,
    RerankDocumentsResponse,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    TranscribeAudioRequest,
    TranscribeAudioResponse,
)
from llmgateway_server.ports.provider import Endpoint, Timeouts

OperationRequest = (
    EmbedContentRequest
    | CountTokensRequest
    | RerankDocumentsRequest
    | TranscribeAudioRequest
    | SynthesizeSpeechRequest
    | GenerateImagesRequest
    | ModerateContentRequest
)
"""What may be asked for. The type of the request is the operation."""

OperationResponse = (
    EmbedContentResponse
    | CountTokensResponse
    | RerankDocumentsResponse
    | TranscribeAudioResponse
    | SynthesizeSpeechResponse
    | GenerateImagesResponse
    | ModerateContentResponse
)
"""What is answered, in the same order."""


@dataclass(frozen=True, slots=True)
class OperationCall:
    """One attempt: a valid request, the endpoint it goes to, and the moment by which it must be done."""

    request: OperationRequest
    """Never changed by an adapter."""
    endpoint: Endpoint
    deadline: float
    """A moment of the event loop's clock, in seconds."""
    timeouts: Timeouts = Timeouts()
    request_id: str = ""
    stream: bool = False
    """Whether the answer may come in pieces."""


class OperationAdapter(Protocol):
    """Does for one provider what is not a conversation."""

    def run(self, call: OperationCall) -> AsyncIterator[OperationResponse]:
        """Yields the answer: one message, or for speech any number, of which the last one has `serving` set.

        Raises UNSUPPORTED_FEATURE for an operation that the provider does not have. Otherwise as `ChatAdapter.chat`:
        what fails before the first message raises its own reason, what fails later STREAM_BROKEN, and closing the
        iterator closes the connection.
        """
        ...
