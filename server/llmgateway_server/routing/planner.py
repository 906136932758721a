"""From what a caller names to the ordered deployments that may answer, with a reason for each that may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Warning as CallWarning
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Model
from llmgateway.v1.routing_service_pb2 import RetryPolicy, Strategy, Timeouts
from llmgateway_server.errors import GatewayError, NotFound, Unavailable, invalid_field
from llmgateway_server.ports.operations import OperationRequest
from llmgateway_server.routing.catalogue import Catalogue, Served, Snapshot
from llmgateway_server.routing.strategies import STRATEGIES, Candidate, Chance

_QUALIFIED = re.compile(r"(models|routes|useCases)/(.+)", re.DOTALL)
_ALIASES_OF_COLLECTIONS = {"usecase/": "useCases/", "route/": "routes/"}
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """The deployments to try, in order, and why the others were not taken."""

    requested: str
    """Full name of what was asked for."""
    strategy: Strategy
    candidates: tuple[Served, ...]
    refusals: tuple[tuple[str, str], ...] = ()
    """Deployment and reason."""
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    warnings: tuple[CallWarning, ...] = ()


def full_name(model: str) -> str:
    """The resource name of what a caller names in short; a bare id is a model."""
    if not model:
        raise invalid_field("model", "name a model, such as 'fake/echo', or a route, such as 'routes/default'.")
    if not is_model_name(model):
        raise invalid_field("model", f"a name has at most {_MAX_NAME} printable characters.")
    for short, collection in _ALIASES_OF_COLLECTIONS.items():
        if model.startswith(short):
            return collection + model.removeprefix(short)
    return model if _QUALIFIED.fullmatch(model) else f"models/{model}"


def is_model_name(model: str) -> bool:
    """Whether a text could name a model, a route or a use case."""
    return 0 < len(model) <= _MAX_NAME and model.isprintable()


class Planner:
    """Plans calls against the catalogue as it is at that moment."""

    def __init__(self, catalogue: Catalogue, draw: Callable[[], float]) -> None:
        """`draw` returns a random number from 0 up to, and without, 1."""
        self._catalogue = catalogue
        self._draw = draw
        self._turns: dict[str, int] = {}

    def plan(self, request: ChatRequest | OperationRequest) -> Plan:
        """The plan for a request whose `model` is a full name.

        Raises RESOURCE_NOT_FOUND for an unknown name or a retired model, and NO_HEALTHY_DEPLOYMENT when nothing that it
        names can be called.
        """
        snapshot = self._catalogue.snapshot
        requested = request.model
        if requested.startswith("useCases/"):
            use_case = snapshot.use_cases.get(requested)
            if use_case is None:
                raise _unknown(requested)
            plan = self._plan_route(snapshot, use_case.route, requested)
        elif requested.startswith("routes/"):
            plan = self._plan_route(snapshot, requested, requested)
        else:
            plan = self._plan_model(snapshot, requested)
        if not plan.candidates:
            raise _nobody(plan)
        return plan

    def _plan_model(self, snapshot: Snapshot, requested: str) -> Plan:
        name = snapshot.model_name(requested)
        served = snapshot.by_model.get(name, ())
        model = snapshot.models.get(name)
        if model is None:
            served = self._unlisted(snapshot, name)
            if not served:
                raise _unknown(name)
        warnings = _life_warnings(model) if model is not None else ()
        candidates = [Candidate(entry, _weight(entry), entry.deployment.priority) for entry in served]
        return self._rank(requested, Strategy.STRATEGY_WEIGHTED, candidates, warnings=warnings)

    def _plan_route(self, snapshot: Snapshot, name: str, requested: str) -> Plan:
        route = snapshot.routes.get(name)
        if route is None:
            raise _unknown(name)
        candidates: list[Candidate] = []
        disabled: list[tuple[str, str]] = []
        for target in route.targets:
            weight = target.weight if target.HasField("weight") else 1
            if target.WhichOneof("kind") == "deployment":
                entry = snapshot.served.get(target.deployment)
                if entry is None:
                    disabled.append((target.deployment, "it is disabled"))
                entries = (entry,) if entry is not None else ()
            else:
                entries = snapshot.by_model.get(snapshot.model_name(target.model), ())
            candidates.extend(Candidate(entry, weight, target.priority) for entry in entries)
        return self._rank(
            requested,
            route.strategy,
            candidates,
            disabled=disabled,
            retry_policy=route.retry_policy,
            timeouts=route.timeouts,
        )

    def _unlisted(self, snapshot: Snapshot, name: str) -> tuple[Served, ...]:
        provider_id, slash, upstream_model = name.removeprefix("models/").partition("/")
        provider = snapshot.providers.get(f"providers/{provider_id}")
        if not slash or not upstream_model or provider is None or not provider.serves_unlisted_models:
            return ()
        return (self._catalogue.unlisted(provider, upstream_model),)

    def _rank(
        self,
        requested: str,
        strategy: Strategy,
        candidates: Sequence[Candidate],
        *,
        disabled: Sequence[tuple[str, str]] = (),
        warnings: tuple[CallWarning, ...] = (),
        retry_policy: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
    ) -> Plan:
        able = [candidate for candidate in candidates if not candidate.served.problem]
        refusals = (
            *disabled,
            *(
                (candidate.served.deployment.name, candidate.served.problem)
                for candidate in candidates
                if candidate.served.problem
            ),
        )
        ranked = STRATEGIES[strategy](able, Chance(self._draw, self._next_turn(requested))) if able[1:] else able
        once: dict[str, Served] = {}  # A route may name a deployment and its model, and so the deployment twice.
        for candidate in ranked:
            once.setdefault(candidate.served.deployment.name, candidate.served)
        return Plan(
            requested=requested,
            strategy=strategy,
            candidates=tuple(once.values()),
            refusals=tuple(dict.fromkeys(refusals)),
            retry_policy=retry_policy or RetryPolicy(),
            timeouts=timeouts or Timeouts(),
            warnings=warnings,
        )

    def _next_turn(self, requested: str) -> int:
        turn = self._turns.get(requested, 0)
        self._turns[requested] = turn + 1
        return turn


def _weight(entry: Served) -> int:
    return entry.deployment.weight if entry.deployment.HasField("weight") else 1


def _unknown(name: str) -> NotFound:
    model_id = name.removeprefix("models/")
    what, where = (repr(name), "/api/v1/routes") if model_id == name else (f"the model {model_id!r}", "/v1/models")
    return NotFound(
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
        f"{what} does not exist; list what there is with GET {where}.",
        field="model",
        metadata={"resource": name},
    )


def _life_warnings(model: Model) -> tuple[CallWarning, ...]:
    """Warns of a deprecated model; raises for a retired one."""
    instead = f"; use {model.replacement!r}" if model.replacement else ""
    if model.status == Model.STATUS_RETIRED:
        raise NotFound(
            ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
            f"the model {model.name!r} is retired{instead}.",
            field="model",
            metadata={"resource": model.name, "replacement": model.replacement},
        )
    if model.status == Model.STATUS_DEPRECATED:
        text = f"the model {model.name!r} is deprecated{instead}."
        return (CallWarning(code=CallWarning.CODE_MODEL_DEPRECATED, field="model", message=text),)
    return ()


def _nobody(plan: Plan) -> GatewayError:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.refusals)
    return Unavailable(
        ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT,
        f"no deployment can serve {plan.requested!r} now"
        + (f" ({reasons})." if reasons else "; it has no enabled deployment."),
        retry_after=30.0,
        metadata={"requested": plan.requested},
    )
