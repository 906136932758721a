"""A running gateway, reached by gRPC: what the command line is a client of."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from llmgateway.v1 import admin_service_pb2, admin_service_pb2_grpc, chat_service_pb2_grpc
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.command.report import Mistake
from llmgateway_server.errors import CLASSES, DOMAIN, GatewayError
from llmgateway_server.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmgateway.v1.admin_resources_pb2 import ApiKey
    from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest

Request = TypeVar("Request")
Reply = TypeVar("Reply")

_SECONDS: Final = 30.0
"""How long a call may take that does not stream."""

_PAGE: Final = 1000

_OPTIONS: Final = (
    # How large a message may be is the gateway's to say.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Error details travel as metadata. Between the default limits, 8 and 16 KiB, they would be refused at random.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    # A gateway that is frozen or cut off is noticed within 40 seconds. Without the last line it takes a minute more.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # The gateway decides what is tried again; nothing found in DNS does.
    ("grpc.service_config_disable_resolution", 1),
)
_LOCAL_OPTIONS: Final = (
    # A proxy is for what is far away.
    ("grpc.enable_http_proxy", 0),
)

_DETAILS_KEY: Final = "grpc-status-details-bin"
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - an address to replace, not to listen on
_REASONS: Final = {ErrorReason.Name(reason).removeprefix("ERROR_REASON_"): reason for reason in CLASSES}
_BY_CODE: Final = {kind.code: kind for kind in CLASSES.values()}


class Gateway:
    """A gateway at an address, called with one key. Every method raises `GatewayError`."""

    def __init__(self, channel: grpc.Channel, address: str, api_key: str) -> None:
        self.where = address
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self._chat = chat_service_pb2_grpc.ChatServiceStub(channel)
        self._admin = admin_service_pb2_grpc.AdminServiceStub(channel)

    def stream_chat(self, request: ChatRequest) -> Generator[ChatEvent]:
        """The events of an answer. To close the generator is to cancel the answer, at the provider too."""
        call = self._chat.StreamChat(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._explained(error) from error
        finally:
            call.cancel()

    def create_key(self, tenant: str, key: ApiKey) -> ApiKey:
        """Makes a key, as `Keyring` has it."""
        request = admin_service_pb2.CreateApiKeyRequest(parent=tenant, api_key=key)
        return self._ask(self._admin.CreateApiKey, request)

    def list_keys(self, tenant: str) -> list[ApiKey]:
        """All keys of a tenant, as `Keyring` has it."""
        found: list[ApiKey] = []
        token = ""
        while True:
            request = admin_service_pb2.ListApiKeysRequest(parent=tenant, page_size=_PAGE, page_token=token)
            page = self._ask(self._admin.ListApiKeys, request)
            found += page.api_keys
            token = page.next_page_token
            if not token:
                return found

    def delete_key(self, name: str) -> None:
        """Removes a key, as `Keyring` has it."""
        self._ask(self._admin.DeleteApiKey, admin_service_pb2.DeleteApiKeyRequest(name=name))

    def _ask(self, method: grpc.UnaryUnaryMultiCallable[Request, Reply], request: Request) -> Reply:
        try:
            return method(request, timeout=_SECONDS, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def _explained(self, error: grpc.RpcError) -> GatewayError:
        """The error that the gateway sent, or one that says how to reach it."""
        if not isinstance(error, grpc.Call):  # by the types it need not be; it always is
            raise error
        code = error.code()
        info, request_id = _details(error)
        message = "" if info else self._how_to_reach(code)
        kind = _BY_CODE.get(code.value[0], GatewayError)
        return kind(
            _REASONS.get(info.reason if info else "", ErrorReason.ERROR_REASON_UNSPECIFIED),
            message or error.details() or code.name,
            metadata={"request_id": request_id},
        )

    def _how_to_reach(self, code: grpc.StatusCode) -> str:
        """What to do about an answer that did not come from a gateway."""
        if code is grpc.StatusCode.UNAVAILABLE:
            return (
                f"no gateway answers at {self.where!r}; "
                "start one with `llm-gateway serve`, or say where it is with --address"
            )
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return f"{self.where!r} does not serve this; Admin may have an address of its own, such as 127.0.0.1:50052"
        return ""


@contextmanager
def connected(address: str, api_key: str, *, plaintext: bool) -> Generator[Gateway]:
    """Reaches for the gateway at `HOST:PORT`. Nothing is sent yet.

    The connection is encrypted unless the address is of this machine, or `plaintext` says that something else takes
    care of the key. Raises `Mistake` for a key that cannot be one.
    """
    if not api_key:
        raise Mistake("there is no API key; set LLMGATEWAY_API_KEY, or make one with `llm-gateway keys create`")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise Mistake("the API key has characters that no key has; copy it again")
    host, colon, port = address.rpartition(":")
    target = f"{_WILDCARDS.get(host, host)}{colon}{port}"
    local = is_loopback(target) or target.startswith("unix:")
    options = (*_OPTIONS, *(_LOCAL_OPTIONS if local else ()))
    if local or plaintext:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    with channel:
        yield Gateway(channel, target, api_key)


def _details(call: grpc.Call) -> tuple[error_details_pb2.ErrorInfo | None, str]:
    """Why the gateway refused, and the id of the request; None and empty when no gateway answered."""
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.RequestInfo()
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(info)
                detail.Unpack(request)
    return (info if info.domain == DOMAIN else None), request.request_id
