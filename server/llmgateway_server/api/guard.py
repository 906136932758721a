"""The outermost interceptor: nobody gets past it unknown, and nothing gets past it unexplained.

It parses the request itself, so that bad bytes are the caller's error; it turns every exception into a status that says
nothing of its cause; it notices a cancellation that nobody asked for, which would leave the caller waiting; and it
closes the generators of streams. What it does before a method runs is the list `ADMISSION`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin.identity import Authenticator
from llmgateway_server.api.rpc import CURRENT, PUBLIC, REQUEST_ID, Rpc, Rule
from llmgateway_server.api.status import STATUS_CODES, internal, on_the_wire
from llmgateway_server.errors import (
    DeadlineExceeded,
    GatewayError,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
    invalid_field,
    not_found,
)
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.principal import PLATFORM

_log = logging.getLogger(__name__)

_MAX_DIGITS = 10

Context = grpc.aio.ServicerContext[Any, Any]
"""`Any`: gRPC's own context, whatever the method's messages are."""


@dataclass(frozen=True, slots=True)
class _Method:
    """A method as it was registered. `Any`: its own messages."""

    name: str
    rule: Rule
    behaviour: Callable[[Any, Context], Any]
    deserialize: Callable[[bytes], Any]
    serialize: Callable[[Any], bytes]

    def parse(self, data: bytes) -> Any:
        """The request in some bytes, or INVALID_FIELD."""
        try:
            return self.deserialize(data)
        except DecodeError as error:
            raise InvalidArgument(
                ErrorReason.ERROR_REASON_INVALID_FIELD,
                "the message cannot be parsed; check its encoding, its depth (at most 100) and that its text is UTF-8.",
            ) from error


_Run = Callable[[_Method, Rpc, Any, Context], Awaitable[Any]]
"""Runs a method, once its caller was let in. `Any`: bytes, or a stream of them."""


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every method of every service once, when it is first called."""

    def __init__(
        self,
        rules: Mapping[str, Rule],
        authenticator: Authenticator,
        *,
        clock: Clock,
        ids: Ids,
        default_timeout: float,
        max_timeout: float,
    ) -> None:
        """`rules` by method; a method without one is refused. Timeouts are in seconds."""
        self._rules = rules
        self._authenticator = authenticator
        self._clock = clock
        self._ids = ids
        self._default_timeout = default_timeout
        self._max_timeout = max_timeout
        self._handlers: dict[str, Any] = {}
        self.in_flight = 0
        """Calls that run now, streams among them."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # `Any`: gRPC's handlers are untyped tuples.
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None:
            inner = await continuation(handler_call_details)
            rule = self._rules.get(path)
            if inner is None or rule is None:
                return None  # gRPC answers UNIMPLEMENTED.
            handler = self._handlers[path] = self._wrap(path.removeprefix("/"), rule, inner)
        return handler

    def _wrap(self, name: str, rule: Rule, inner: Any) -> Any:
        """The handler that gRPC gets in the place of a method's own."""
        make = cast("Any", grpc)
        if inner.request_streaming:
            behaviour, run, shape = inner.stream_stream, self._converse, make.stream_stream_rpc_method_handler
        elif not inner.response_streaming:
            behaviour, run, shape = inner.unary_unary, self._answer, make.unary_unary_rpc_method_handler
        elif inspect.isasyncgenfunction(inner.unary_stream):
            behaviour, run, shape = inner.unary_stream, self._stream, make.unary_stream_rpc_method_handler
        else:
            behaviour, run, shape = inner.unary_stream, self._write, make.unary_stream_rpc_method_handler
        method = _Method(name, rule, behaviour, inner.request_deserializer, inner.response_serializer)
        # A method that writes to the context by itself leaves it to gRPC to turn what it writes into bytes.
        return shape(self._guarded(method, run), None, method.serialize if run == self._write else None)

    def _guarded(self, method: _Method, run: _Run) -> Callable[[Any, Context], Awaitable[Any]]:
        """Lets a method run for those who may, and explains whatever comes of it.

        Never a generator, also for streams: gRPC does not close those, so that one whose caller went away between two
        messages would stand there until it is collected.
        """

        async def handle(sent: Any, context: Context) -> Any:
            rpc = self._rpc(method, context)
            try:
                self._admit(rpc)
                return await run(method, rpc, sent, context)
            except BaseException as error:  # noqa: BLE001 - the outermost layer, which explains whatever comes
                await self._fail(error, rpc, method, context)

        return handle

    async def _answer(self, method: _Method, rpc: Rpc, data: bytes, context: Context) -> bytes:
        """A request and its answer."""
        request = method.parse(data)
        _check_tenant(rpc, request)
        self.in_flight += 1
        try:
            response = method.serialize(await self._in_time(rpc, method.behaviour(request, context)))
        finally:
            self.in_flight -= 1
        context.set_trailing_metadata((("x-request-id", rpc.request_id),))
        return response

    async def _stream(self, method: _Method, rpc: Rpc, data: bytes, context: Context) -> None:
        """A request and a stream of answers."""
        request = method.parse(data)
        _check_tenant(rpc, request)
        self.in_flight += 1
        try:
            async with aclosing(method.behaviour(request, context)) as responses:
                async for response in responses:
                    await context.write(method.serialize(response))
        finally:
            self.in_flight -= 1
        context.set_trailing_metadata((("x-request-id", rpc.request_id),))

    async def _write(self, method: _Method, rpc: Rpc, data: bytes, context: Context) -> None:
        """For methods that write to the context rather than yield, such as `Watch` of the health service."""
        await method.behaviour(method.parse(data), context)

    async def _converse(self, method: _Method, rpc: Rpc, requests: AsyncIterator[bytes], context: Context) -> None:
        """For reflection, the only service here whose requests stream."""

        async def parsed() -> AsyncIterator[Any]:
            async for data in requests:
                yield method.parse(data)

        async with aclosing(method.behaviour(parsed(), context)) as responses:
            async for response in responses:
                await context.write(method.serialize(response))

    async def _in_time(self, rpc: Rpc, answer: Awaitable[Any]) -> Any:
        """Awaits an answer until the call's deadline."""
        limit = asyncio.timeout(max(rpc.deadline - self._clock.monotonic(), 0.0))
        try:
            async with limit:
                return await answer
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineExceeded(
                    ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, "the deadline passed; allow more time or ask for less."
                ) from error
            raise

    def _rpc(self, method: _Method, context: Context) -> Rpc:
        pairs = context.invocation_metadata() or ()
        rpc = Rpc(
            method=method.name,
            rule=method.rule,
            metadata=dict(cast("Sequence[tuple[str, str]]", pairs)),
            credentials=tuple([str(value) for key, value in pairs if key == "authorization"]),
            time_remaining=context.time_remaining(),
            started=self._clock.monotonic(),
        )
        CURRENT.set(rpc)
        return rpc

    def _admit(self, rpc: Rpc) -> None:
        for step in ADMISSION:
            step(self, rpc)

    def identify(self, rpc: Rpc) -> None:
        """Takes the caller's request id where it is well-formed, and makes one where there is none."""
        given = rpc.metadata.get("x-request-id", "")
        rpc.request_id = given if REQUEST_ID.fullmatch(given) else self._ids.new()

    def authenticate(self, rpc: Rpc) -> None:
        """Finds out who is calling, from the credential alone."""
        if rpc.rule.scope != PUBLIC:
            rpc.principal = self._authenticator.authenticate(rpc.credentials)

    def authorize(self, rpc: Rpc) -> None:
        """Checks the scopes that the method's proto asks for."""
        rule = rpc.rule
        if rule.scope == PUBLIC:
            return
        for scope in (rule.scope, PLATFORM if rule.platform else ""):
            if scope and not rpc.principal.may(scope):
                raise PermissionDenied(
                    ErrorReason.ERROR_REASON_SCOPE_REQUIRED,
                    f"this key lacks the scope {scope!r}; use a key that has it.",
                    metadata={"scope": scope},
                )

    def bound(self, rpc: Rpc) -> None:
        """Gives the call a deadline: the caller's own, by gRPC or by header, within the gateway's limit."""
        remaining = self._default_timeout if rpc.time_remaining is None else rpc.time_remaining
        header = rpc.metadata.get("x-request-timeout-ms")
        if header is not None:
            if not header.isascii() or not header.isdigit() or not 0 < len(header) <= _MAX_DIGITS or int(header) == 0:
                raise invalid_field("x-request-timeout-ms", f"must be a whole number of milliseconds; got {header!r}.")
            remaining = min(remaining, int(header) / 1000)
        rpc.deadline = rpc.started + min(remaining, self._max_timeout)

    async def _fail(self, error: BaseException, rpc: Rpc, method: _Method, context: Context) -> NoReturn:
        """Ends the call with the status that belongs to the exception; lets pass what gRPC itself must see."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        known = self._explain(error, rpc)
        if known is None:
            raise error
        openai = rpc.method.startswith("llmgateway.compat.v1.OpenAIService/")
        message, trailers = on_the_wire(known, rpc.request_id, openai=openai)
        try:
            if rpc.last_words is not None:
                await context.write(method.serialize(rpc.last_words(known)))
            await context.abort(STATUS_CODES[known.code], message, trailers)
        except grpc.aio.InternalError as gone:  # Nobody is there to be told. So gRPC ends such a call itself.
            raise asyncio.CancelledError from gone
        raise AssertionError("abort returned")  # It never does; this tells the type checker.

    def _explain(self, error: BaseException, rpc: Rpc) -> GatewayError | None:
        """The error that the caller is told; None for what is none of his."""
        if isinstance(error, GatewayError):
            return error
        if isinstance(error, grpc.aio.InternalError):  # A message could not be sent; mostly, the caller is gone.
            return _interrupted()
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return None
            _log.error("a task inside the call was cancelled by nobody", extra={"request_id": rpc.request_id})
            return _interrupted()
        if isinstance(error, Exception):
            _log.error(
                "a call failed unexpectedly",
                extra={"request_id": rpc.request_id, "method": rpc.method},
                exc_info=error,
            )
            return internal()
        return None


ADMISSION: tuple[Callable[[Guard, Rpc], None], ...] = (
    Guard.identify,
    Guard.authenticate,
    Guard.authorize,
    Guard.bound,
)
"""What happens before a method runs, in order. Each step raises to refuse, and none waits."""


def _interrupted() -> Unavailable:
    return Unavailable(
        ErrorReason.ERROR_REASON_STREAM_BROKEN, "the call was interrupted; send it again.", retry_after=1.0
    )


def _check_tenant(rpc: Rpc, request: Message) -> None:
    """Keeps a key within its tenant. What is another's is said not to exist."""
    path = rpc.rule.tenant_field
    if not path or rpc.principal.may(PLATFORM):
        return
    value: Any = request
    for step in path.split("."):
        value = getattr(value, step)
    name, own = cast("str", value), rpc.principal.tenant
    if name.startswith("tenants/") and name != own and not name.startswith(f"{own}/"):
        raise not_found(name)
