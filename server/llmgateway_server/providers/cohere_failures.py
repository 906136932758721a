"""Gives the failures of Cohere's dialect their reasons. It has statuses of its own, and no codes."""

from __future__ import annotations

import re
from dataclasses import replace

from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.failures import Report, failure

_DENIED = 498
"""The status of a request whose content is on a list of what is denied."""

_MONTHLY_WORDS = re.compile(r"/ ?month|per month|monthly", re.IGNORECASE)


def failure_of(status: int, report: Report) -> GatewayError:
    """The error that a report stands for. `status` is the HTTP status, or zero for an error within an answer."""
    if status == _DENIED:
        # Others use the status for limits of rate, so it is judged by the word alone.
        error = failure(0, replace(report, code="content_filter"))
        error.metadata["http_status"] = str(status)
        return error
    if report.mentions(_MONTHLY_WORDS):
        # The calls of a trial month are spent; a limit by the minute has the same status.
        report = replace(report, code="insufficient_quota")
    return failure(status, report)
