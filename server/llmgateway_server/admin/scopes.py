"""The scopes of API keys: what each lets its bearer do, and what a caller may hand on."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import PermissionDenied
from llmgateway_server.principal import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmgateway_server.principal import Principal

SCOPES: Final = MappingProxyType(
    {
        "chat": "call models, routes and use cases",
        "models:read": "read providers, models and deployments",
        "models:write": "change providers, models and deployments",
        "routing:read": "read routes, use cases and decisions",
        "routing:write": "change routes and use cases",
        "evaluation:read": "read datasets, evaluations and results",
        "evaluation:write": "change datasets and evaluations, and run them",
        "admin:read": "read the tenant, its keys, budgets, usage and audit events",
        "admin:write": "change the tenant's keys and budgets",
        PLATFORM: "reach beyond its own tenant, and change what all tenants share",
    }
)
"""Every scope, with what it is for."""

DEFAULT_SCOPES: Final = ("chat", "models:read")
"""The scopes of a key that names none."""


def check_scopes_granted(scopes: Iterable[str], principal: Principal, *, field: str) -> None:
    """Refuses to let a caller give scopes that he does not hold himself; `PERMISSION_DENIED`."""
    for scope in scopes:
        if not principal.may(scope):
            raise PermissionDenied(
                ErrorReason.ERROR_REASON_SCOPE_REQUIRED,
                f"you do not hold the scope {scope!r}, so you cannot give it; leave it out.",
                field=field,
                metadata={"scope": scope},
            )


def check_models_granted(patterns: Sequence[str], own: Sequence[str], *, field: str) -> None:
    """Refuses to let a caller whose key is limited to some models allow others; `PERMISSION_DENIED`.

    A pattern is within another one when that one matches it as if it were a name: `*` stands for any characters, `*`
    included. Without patterns a key may use all that its tenant may, so a limited caller has to name some.
    """
    for pattern in patterns or ("*",):
        if own and not any(fnmatchcase(pattern, allowed) for allowed in own):
            raise PermissionDenied(
                ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED,
                f"you may not use {pattern!r}, so you cannot allow it; name models that you may use.",
                field=field,
                metadata={"model": pattern},
            )
