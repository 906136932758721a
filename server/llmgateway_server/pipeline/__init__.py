"""The life of one request. The order of its stages is the list here, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway_server.pipeline.call import Call, Handler, Stage

STAGES = ("meter", "authorize", "validate")
"""The stages around dispatch, outermost first."""


def build(stages: Mapping[str, Stage], dispatch: Handler, order: Sequence[str] = STAGES) -> Handler:
    """Folds the stages around dispatch, once, in the order given."""
    handler = dispatch
    for name in reversed(order):
        handler = _around(stages[name], handler)
    return handler


def _around(stage: Stage, inner: Handler) -> Handler:
    def handler(call: Call) -> AsyncIterator[ChatEvent]:
        return stage(call, inner)

    return handler


__all__ = ["STAGES", "Call", "Handler", "Stage", "build"]
