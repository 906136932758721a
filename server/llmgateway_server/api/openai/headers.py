"""The headers of an answer on OpenAI's surface: who served it, at what cost in time, and with what warnings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from llmgateway.v1.chat_service_pb2 import ChatResponse, Serving, Started
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.api.rpc import Rpc
from llmgateway_server.api.status import ascii_json
from llmgateway_server.pipeline.call import AnyCall
from llmgateway_server.ports.system import Clock
from llmgateway_server.routing.catalogue import Snapshot

DIALECT = "openai"
"""The wire format that knows the fields of this surface by the same names."""

_PLAIN = "/:@.,+ "
"""Characters of a model's id that a header shows as they are, besides letters and digits."""
_MAX_NAME = 80
_MAX_WARNINGS = 2_048
"""Most characters of all warnings in a header. What goes beyond is counted."""


@dataclass(frozen=True, slots=True)
class AnswerHeaders:
    """Writes the headers that go with the first message of an answer."""

    snapshot: Callable[[], Snapshot]
    clock: Clock

    def of(
        self,
        rpc: Rpc,
        calls: Sequence[AnyCall],
        answer: Started | ChatResponse | Serving | Attempt,
        *,
        unknown: Sequence[str],
        notes: Sequence[str] = (),
    ) -> tuple[tuple[str, str], ...]:
        """The headers. `unknown` are fields that no proto names, `notes` are warnings of the dialect itself.

        An answer that tells at its end how it came about has only its attempt to show at its beginning.
        """
        snapshot = self.snapshot()
        deployment = snapshot.deployments.get(answer.deployment)
        provider_id = answer.provider.removeprefix("providers/")
        served = deployment.model.removeprefix("models/") if deployment else f"{provider_id}/{answer.upstream_model}"
        spent = self.clock.monotonic() - rpc.started - max(call.upstream_seconds for call in calls)
        headers = [
            ("x-request-id", rpc.request_id),
            ("x-gw-served-model", quote(served, safe=_PLAIN)),
            ("x-gw-served-provider", provider_id),
            ("x-gw-attempts", str(sum(len(call.attempts) for call in calls))),
            ("x-gw-overhead-ms", f"{max(spent, 0.0) * 1000:.3f}"),
        ]
        warnings = list(notes)
        if not isinstance(answer, Attempt):
            warnings += [f"{warning.field}: {warning.message}" for warning in answer.warnings]
        provider = snapshot.providers.get(answer.provider)
        if provider is not None and provider.wire_format != DIALECT:
            left_out = f"{provider_id!r} does not know this field; it was left out."
            warnings += [f"{name[:_MAX_NAME]}: {left_out}" for name in unknown]
        if warnings:
            headers.append(("x-gw-warnings", _header_of(warnings)))
        return tuple(headers)


def _header_of(warnings: Sequence[str]) -> str:
    """As many warnings as a header may hold, as JSON."""
    shown: list[str] = []
    room = _MAX_WARNINGS
    for warning in warnings:
        room -= len(ascii_json([warning]))
        if room < 0:
            shown.append(f"and {len(warnings) - len(shown)} more")
            break
        shown.append(warning)
    return ascii_json(shown)
