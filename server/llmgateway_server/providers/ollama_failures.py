"""Gives the failures of Ollama's dialect their reasons. It has no codes: the sentence is all that there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.failures import Report, Verdict, failure

_UNSUPPORTED, _OUT_OF_MEMORY = "unsupported_by_model", "out_of_memory"
_CODES: Mapping[str, Verdict] = {
    _UNSUPPORTED: Verdict(ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE, retryable=False),
    # The same machine has no more memory when it is asked again; another may have.
    _OUT_OF_MEMORY: Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=False),
}

_UNSUPPORTED_WORDS = re.compile(r"does not support (\w+)", re.IGNORECASE)
_MEMORY_WORDS = re.compile(r"requires more system memory|out of memory", re.IGNORECASE)
_REFUSAL_WORDS = re.compile(r"context (length|window|size)|prompt is too long|\binvalid\b", re.IGNORECASE)
_PARAMS: Mapping[str, str] = {"tools": "tools", "thinking": "reasoning_effort"}
"""What a model may lack, and the parameter that asks for it."""


def failure_of(status: int, report: Report) -> GatewayError:
    """The error that a report stands for. `status` is the HTTP status, or zero for an error within an answer."""
    if lacked := _UNSUPPORTED_WORDS.search(report.message):
        report = replace(report, code=_UNSUPPORTED, param=_PARAMS.get(lacked[1].lower(), ""))
    elif _MEMORY_WORDS.search(report.message):
        report = replace(report, code=_OUT_OF_MEMORY)
    elif not status:
        # Judged by its words as a status would be, since what comes within an answer has none.
        report = replace(report, status=report.status or _status_of(report))
    return failure(status, report, _CODES)


def _status_of(report: Report) -> int:
    return 400 if report.mentions(_REFUSAL_WORDS) else 500
