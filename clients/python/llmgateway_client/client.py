"""The client: one connection to a gateway, with its key."""

import ipaddress
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Required, Self, TypedDict, Unpack, cast

import grpc
import grpc.aio

from llmgateway_client.generated.llmgateway import v1
from llmgateway_client.stream import ChatStream
from llmgateway_client.transport import OPTIONS, Channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import grpclib.client


class ChatFields(TypedDict, total=False):
    """The fields of a chat request, as `ChatRequest` describes them."""

    model: Required[str]
    messages: Required[Sequence[v1.Message]]
    tools: Sequence[v1.Tool]
    tool_choice: v1.ToolChoice
    generation: v1.Generation
    labels: Mapping[str, str]
    request_id: str
    provider_options: Mapping[str, str]
    strict: bool
    end_user: str
    session_id: str


class GatewayClient:
    """Talks to one gateway. Use it as a context: to leave it closes the connection and ends every open call.

    `address` is `host:port`, or any name that gRPC resolves, such as `dns:///gateway:50051` or `unix:/run/gateway`.
    `api_key` is sent with every call, and shown nowhere.
    `tls` is true, false, or credentials made by `grpc.ssl_channel_credentials`. By default the connection is encrypted
    unless the address is of this machine, so that a key never crosses a network in the clear by accident.
    `timeout` is in seconds, for a whole call, and holds for every call that is not given its own. None means no limit.

    The client retries nothing: the gateway does, as its routes say. Besides `complete` and `stream`, every method of
    the gateway is at hand on `chat`, `models`, `routing`, `evaluation`, `admin` and `health`, the generated stubs.
    """

    def __init__(
        self,
        address: str,
        api_key: str,
        *,
        tls: bool | grpc.ChannelCredentials | None = None,
        timeout: float | None = 600.0,
    ) -> None:
        self._address = address
        credentials = _credentials(address, tls)
        self._encrypted = credentials is not None
        if credentials is None:
            self._connection = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self._connection = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
        # The stubs use one method of grpclib's channel, which ours has.
        channel = cast("grpclib.client.Channel", Channel(self._connection, api_key=api_key, timeout=timeout))
        self.chat = v1.ChatServiceStub(channel)
        self.models = v1.ModelServiceStub(channel)
        self.routing = v1.RoutingServiceStub(channel)
        self.evaluation = v1.EvaluationServiceStub(channel)
        self.admin = v1.AdminServiceStub(channel)
        self.health = v1.HealthServiceStub(channel)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r}, tls={self._encrypted})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection. Calls that still run end with `Cancelled`."""
        await self._connection.close()

    async def complete(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109, it goes to the gateway, which stops by it
        **fields: Unpack[ChatFields],
    ) -> v1.ChatResponse:
        """Answers a conversation with one whole message. `timeout` is in seconds; raises `GatewayError`."""
        return await self.chat.complete_chat(_request(fields), timeout=timeout, metadata=_metadata(fields))

    def stream(self, *, timeout: float | None = None, **fields: Unpack[ChatFields]) -> ChatStream:
        """Answers a conversation piece by piece. `timeout` is in seconds, for the whole answer."""
        events = self.chat.stream_chat(_request(fields), timeout=timeout, metadata=_metadata(fields))
        # The stub is an async generator function, and is annotated as what it returns is used for.
        return ChatStream(cast("AsyncGenerator[v1.ChatEvent, None]", events))


def _request(fields: ChatFields) -> v1.ChatRequest:
    return v1.ChatRequest(
        model=fields["model"],
        messages=list(fields["messages"]),
        tools=list(fields.get("tools", ())),
        tool_choice=fields.get("tool_choice"),
        generation=fields.get("generation"),
        labels=dict(fields.get("labels", {})),
        request_id=fields.get("request_id", ""),
        provider_options=dict(fields.get("provider_options", {})),
        strict=fields.get("strict", False),
        end_user=fields.get("end_user", ""),
        session_id=fields.get("session_id", ""),
    )


def _metadata(fields: ChatFields) -> Mapping[str, str]:
    """The request's id, which as metadata is known even of a request that is refused before it is read."""
    request_id = fields.get("request_id", "")
    return {"x-request-id": request_id} if request_id else {}


def _credentials(address: str, tls: bool | grpc.ChannelCredentials | None) -> grpc.ChannelCredentials | None:  # noqa: FBT001, the parameter of that name
    """The credentials for the address; None for a connection in the clear."""
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    encrypted = not _is_local(address) if tls is None else tls
    return grpc.ssl_channel_credentials() if encrypted else None


def _is_local(address: str) -> bool:
    """Whether the address is certainly of this machine: a Unix socket, `localhost`, or a loopback address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
