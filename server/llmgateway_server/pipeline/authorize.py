"""May this caller use what it names?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import PermissionDenied
from llmgateway_server.pipeline.call import AnyCall, Call, Handler
from llmgateway_server.routing.planner import full_name


def authorize(call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
    """Writes the full name of what is asked for into the request, and lets the call pass if it is allowed.

    Not a generator itself, so that a call that passes costs no layer.
    """
    check_allowed(call)
    return next_handler(call)


def check_allowed(call: AnyCall) -> None:
    """Writes the full name of what is asked for into the request; raises MODEL_NOT_ALLOWED if the caller may not."""
    call.request.model = full_name(call.request.model)
    if not call.principal.may_use(call.request.model):
        model = call.request.model
        raise PermissionDenied(
            ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED,
            f"this key may not use {model!r}; ask your administrator, or list what it may use with GET /v1/models.",
            field="model",
            metadata={"model": model},
        )
