"""Resource names: one table of patterns, and what can be done with a name.

A name such as `tenants/acme/apiKeys/laptop` is a path of collections and ids. Everything here is pure and takes about a
microsecond, so it may be used on every request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from llmgateway_server.errors import InvalidArgument, invalid_field

if TYPE_CHECKING:
    from collections.abc import Mapping

WILDCARD: Final = "-"
"""Stands for any id in a parent, as in `tenants/-`. No resource has it for an id."""

ANY_TENANT: Final = "tenants/-"
"""The parent of every tenant's resources. Only reads take it."""

MAX_MODEL_ID: Final = 200
"""Most characters of a model's id."""


@dataclass(frozen=True, slots=True)
class IdRule:
    """What an id may look like, for the program and for people."""

    expression: str
    """A regular expression that holds inside a name as well as for the id alone."""
    text: str

    def allows(self, value: str) -> bool:
        """Whether a text is an id by this rule."""
        return re.fullmatch(self.expression, value) is not None  # re keeps the compiled form


_SIMPLE = IdRule(
    r"(?!-(?:/|\Z))[a-z0-9-]{1,63}",
    "use 1 to 63 lower-case letters, digits and '-', and not '-' alone",
)
_MODEL = IdRule(
    # No leading, trailing or double slash; no two dots in a row, which is how paths climb.
    rf"(?!-\Z)(?!.*\.\.)(?=.{{1,{MAX_MODEL_ID}}}\Z)[A-Za-z0-9._:-]+(?:/[A-Za-z0-9._:-]+)*",
    f"use 1 to {MAX_MODEL_ID} letters, digits, '.', '_', '-', ':' and '/', "
    "with no slash at either end, no '//' and no '..'",
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """How the names of one kind are made."""

    kind: str
    """The message that the name belongs to, such as `ApiKey`."""
    template: str
    """For people: `tenants/{tenant}/apiKeys/{api_key}`."""
    rule: IdRule = _SIMPLE
    """What the last id may be. The ids before it are always simple."""
    collections: tuple[str, ...] = field(init=False)
    """`("tenants", "apiKeys")`"""
    _compiled: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        collections = tuple(self.template.split("/")[0::2])
        rules = [_SIMPLE] * (len(collections) - 1) + [self.rule]
        segments = [f"{name}/({rule.expression})" for name, rule in zip(collections, rules, strict=True)]
        object.__setattr__(self, "collections", collections)
        object.__setattr__(self, "_compiled", re.compile("/".join(segments)))

    def match(self, name: str) -> tuple[str, ...] | None:
        """The ids in a name, outermost first, or None when it is not a name of this kind."""
        found = self._compiled.fullmatch(name)
        return found.groups() if found else None


def _table(*patterns: Pattern) -> Mapping[str, Pattern]:
    return MappingProxyType({pattern.kind: pattern for pattern in patterns})


PATTERNS: Final = _table(
    Pattern("Tenant", "tenants/{tenant}"),
    Pattern("ApiKey", "tenants/{tenant}/apiKeys/{api_key}"),
    Pattern("Budget", "tenants/{tenant}/budgets/{budget}"),
    Pattern("UsageRecord", "tenants/{tenant}/usageRecords/{usage_record}"),
    Pattern("AuditEvent", "tenants/{tenant}/auditEvents/{audit_event}"),
    Pattern("Provider", "providers/{provider}"),
    Pattern("Model", "models/{model}", rule=_MODEL),
    Pattern("Deployment", "deployments/{deployment}"),
    Pattern("Route", "routes/{route}"),
    Pattern("UseCase", "useCases/{use_case}"),
    Pattern("Decision", "decisions/{decision}"),
    Pattern("Dataset", "tenants/{tenant}/datasets/{dataset}"),
    Pattern("Evaluation", "tenants/{tenant}/evaluations/{evaluation}"),
    Pattern("EvaluationRun", "tenants/{tenant}/evaluations/{evaluation}/runs/{run}"),
)
"""Every kind that has names, by the name of its message."""

_BY_COLLECTIONS: Final = MappingProxyType({pattern.collections: pattern for pattern in PATTERNS.values()})


def match_name(name: str) -> Pattern | None:
    """The pattern that a name follows, or None when it follows none."""
    if name.startswith("models/"):  # the only ids with slashes: their segments are not collections
        pattern = PATTERNS["Model"]
    else:
        found = _BY_COLLECTIONS.get(tuple(name.split("/")[0::2]))
        if found is None:
            return None
        pattern = found
    return pattern if pattern.match(name) else None


def is_name(kind: str, name: str) -> bool:
    """Whether a text is a name of a kind."""
    return PATTERNS[kind].match(name) is not None


def parse_name(kind: str, name: str, *, field: str = "name") -> tuple[str, ...]:
    """The ids in a name, outermost first; `INVALID_FIELD` when it is not a name of the kind."""
    ids = PATTERNS[kind].match(name)
    if ids is None:
        raise _malformed(kind, name, field)
    return ids


def format_name(kind: str, *ids: str) -> str:
    """The name with these ids, outermost first. `ValueError` when they do not make one, which is a bug."""
    pattern = PATTERNS[kind]
    name = "/".join(f"{collection}/{value}" for collection, value in zip(pattern.collections, ids, strict=True))
    if pattern.match(name) is None:
        raise ValueError(f"{ids!r} do not fit {pattern.template!r}")
    return name


def child_name(kind: str, parent: str, resource_id: str) -> str:
    """The name of a resource under a parent, both already checked. The parent of a top-level kind is empty."""
    name = f"{PATTERNS[kind].collections[-1]}/{resource_id}"
    return f"{parent}/{name}" if parent else name


def check_id(kind: str, resource_id: str, *, field: str) -> None:
    """Refuses an id that a resource of the kind cannot have; `INVALID_FIELD`."""
    rule = PATTERNS[kind].rule
    if not resource_id:
        raise invalid_field(field, f"is required; {rule.text}.")
    if not rule.allows(resource_id):
        raise invalid_field(field, f"{_shown(resource_id)} is not an id; {rule.text}.")


def check_parent(kind: str, parent: str, *, field: str = "parent", wildcard: bool = False) -> None:
    """Refuses a parent that a kind cannot have; `INVALID_FIELD`. A top-level kind has the empty parent.

    With `wildcard`, an id of the parent may be `-`.
    """
    collections = PATTERNS[kind].collections[:-1]
    segments = parent.split("/") if parent else []
    fits = tuple(segments[0::2]) == collections and len(segments) == 2 * len(collections)
    if not fits or not all(_SIMPLE.allows(value) or (wildcard and value == WILDCARD) for value in segments[1::2]):
        expected = PATTERNS[kind].template.rpartition("/")[0].rpartition("/")[0]
        raise invalid_field(field, f"{_shown(parent)} is not a parent here; use {expected!r}.")


def parent_of(name: str) -> str:
    """The parent of a well-formed name: `tenants/acme` of `tenants/acme/apiKeys/laptop`; empty for a top-level name."""
    if name.startswith("models/"):
        return ""
    return name.rpartition("/")[0].rpartition("/")[0]


def id_of(name: str) -> str:
    """The last id of a well-formed name: `laptop` of `tenants/acme/apiKeys/laptop`, `a/b` of `models/a/b`."""
    if name.startswith("models/"):
        return name.removeprefix("models/")
    return name.rpartition("/")[2]


def tenant_of(name: str) -> str:
    """The tenant that a well-formed name or parent belongs to, as `tenants/{tenant}`; empty when it belongs to none."""
    if not name.startswith("tenants/"):
        return ""
    second = name.find("/", len("tenants/"))
    return name if second < 0 else name[:second]


def _malformed(kind: str, name: str, field: str) -> InvalidArgument:
    template = PATTERNS[kind].template
    if not name:
        return invalid_field(field, f"is required; use {template!r}.")
    rule = PATTERNS[kind].rule.text
    return invalid_field(field, f"{_shown(name)} is not a name here; use {template!r}, and for the id {rule}.")


def _shown(value: str) -> str:
    """A value as messages quote it: escaped, and cut where nobody reads on."""
    return repr(value if len(value) <= MAX_MODEL_ID else value[:MAX_MODEL_ID] + "...")
