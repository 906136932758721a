"""Who is calling. Made once a call from the credential, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

PLATFORM = "platform"
"""The scope that lifts a key beyond its own tenant."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as the API key that was shown says."""

    tenant: str
    """`tenants/{tenant}`"""
    api_key: str
    """`tenants/{tenant}/apiKeys/{api_key}`"""
    scopes: frozenset[str]
    allowed_models: tuple[Sequence[str], ...] = ()
    """Each entry is a list of patterns of which one must match; an empty list lets everything pass."""

    def may(self, scope: str) -> bool:
        """Whether the caller holds a scope."""
        return scope in self.scopes

    def may_use(self, model: str) -> bool:
        """Whether the caller may use `models/...`, `routes/...` or `useCases/...`."""
        return all(
            any(fnmatchcase(model, pattern) for pattern in patterns) for patterns in self.allowed_models if patterns
        )


ANONYMOUS = Principal(tenant="", api_key="", scopes=frozenset())
"""Somebody who showed no credential, and needs none where he is."""
