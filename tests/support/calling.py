"""Calls the gateway by gRPC or by REST, and tells what came of it in one shape."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Protocol, cast

import grpc
import grpc.aio
import httpx
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from tests.support.transcoding import RestRequest, rest_of

OPENAI_CHAT = "OpenAIService/CreateChatCompletion"
_SECONDS = 20.0
_HTTP_BODY = "google.api.HttpBody"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call."""

    code: str
    """The canonical code. By REST it is the body's, and empty where the body says none."""
    http: int = 0
    """By REST only."""
    reason: str = ""
    field: str = ""
    message: str = ""
    headers: Mapping[str, str] = dataclass_field(default_factory=dict[str, str])
    """What came before the answer; in case of a failure by gRPC, what came with the status."""
    messages: Sequence[Any] = ()
    """Each answer as JSON, also of a stream that failed later."""
    error: Any = None
    """The body of a foreign dialect's error."""
    content_type: str = ""


class Transport(Protocol):
    """A way to call the gateway."""

    async def call(self, method: MethodDescriptor, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> Reply:
        """Calls a method. Never raises for what the gateway answers."""
        ...


class GrpcTransport:
    """Calls by gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: MethodDescriptor, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> Reply:
        return await self.send(method, message.SerializeToString(), metadata)

    async def send(self, method: MethodDescriptor, data: bytes, metadata: Sequence[tuple[str, str]] = ()) -> Reply:
        """Calls a method with bytes as they are."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        read = GetMessageClass(method.output_type).FromString
        answers: list[Message] = []
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        call: Any = make(path, response_deserializer=read)(data, metadata=tuple(metadata), timeout=_SECONDS)
        try:
            if method.server_streaming:
                async for answer in call:
                    answers.append(answer)  # noqa: PERF401 - what came before an error counts
            else:
                answers.append(await call)
            headers = _texts(await call.initial_metadata())
        except grpc.aio.AioRpcError as error:
            return _failed(error, answers)
        return Reply("OK", headers=headers, messages=_jsons(answers), content_type=_content_type(answers))


class RestTransport:
    """Calls by REST, through Envoy."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: MethodDescriptor, message: Message, metadata: Sequence[tuple[str, str]] = ()) -> Reply:
        request = rest_of(method, message)
        body: bytes | None = None if request.body is None else json.dumps(request.body).encode()
        content_type = "application/json"
        if method.input_type.full_name == _HTTP_BODY:
            body = cast("Any", message).data
            content_type = cast("Any", message).content_type or content_type
        return await self.send(request, body, {"content-type": content_type, **dict(metadata)})

    async def send(self, request: RestRequest, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Sends a request with a body as it is."""
        response = await self._client.request(
            request.method, request.path, content=body, headers={**headers, **request.headers}, timeout=_SECONDS
        )
        return _read(response)


def openai_message(method: MethodDescriptor, body: bytes) -> Message:
    """A request of OpenAI's dialect."""
    message = GetMessageClass(method.input_type)()
    cast("Any", message).content_type = "application/json"
    cast("Any", message).data = body
    return message


def _failed(error: grpc.aio.AioRpcError, answers: Sequence[Message]) -> Reply:
    trailers = dict(cast("Any", error.trailing_metadata()) or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    body = trailers.get("x-error-body")
    return Reply(
        error.code().name,
        reason=info.reason,
        field=info.metadata.get("field", ""),
        message=error.details() or "",
        headers=_texts(trailers.items()),
        messages=_jsons(answers),
        error=json.loads(body) if body else None,
    )


def _texts(pairs: Any) -> dict[str, str]:
    return {key: value for key, value in pairs if isinstance(value, str)}


def _content_type(answers: Sequence[Message]) -> str:
    return cast("Any", answers[0]).content_type if answers and _is_body(answers[0]) else ""


def _is_body(message: Message) -> bool:
    return message.DESCRIPTOR.full_name == _HTTP_BODY


def _jsons(answers: Sequence[Message]) -> list[Any]:
    if answers and _is_body(answers[0]):
        content_type = cast("Any", answers[0]).content_type
        return _parts(content_type, b"".join(cast("Any", answer).data for answer in answers).decode())
    return [json_format.MessageToDict(answer) for answer in answers]


def _parts(content_type: str, text: str) -> list[Any]:
    """The JSON values of a body, or of the events in it; what is no JSON is left as text."""
    if content_type.startswith("text/event-stream"):
        texts = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    else:
        texts = [text] if text else []
    return [_json(each) for each in texts]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(response: httpx.Response) -> Reply:
    content_type = response.headers.get("content-type", "")
    messages = _parts(content_type, response.text)
    headers = dict(response.headers)
    if response.is_success:
        return Reply("OK", response.status_code, headers=headers, messages=messages, content_type=content_type)
    body: Any = messages[0] if messages else {}
    if not isinstance(body, dict):
        return Reply("", response.status_code, message=response.text, headers=headers, content_type=content_type)
    if "error" in body:
        message = body["error"].get("message", "")
        return Reply("", response.status_code, message=message, headers=headers, error=body, content_type=content_type)
    info = next((detail for detail in body.get("details", ()) if "reason" in detail), {})
    return Reply(
        _CODES.get(body.get("code", -1), ""),
        response.status_code,
        reason=info.get("reason", ""),
        field=info.get("metadata", {}).get("field", ""),
        message=body.get("message", ""),
        headers=headers,
        content_type=content_type,
    )


_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata that a key goes in; nothing for no key."""
    return (("authorization", f"Bearer {key}"),) if key else ()
