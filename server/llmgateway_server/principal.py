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
            any(_matches(pattern, model) for pattern in patterns) for patterns in self.allowed_models if patterns
        )


def _matches(pattern: str, text: str) -> bool:
    """Whether a text is what the pattern says, in which `*` stands for any run of characters and all else for itself.

    So a pattern that another one matches as a text never matches more than that one, which handing out keys relies on.
    """
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


ANONYMOUS = Principal(tenant="", api_key="", scopes=frozenset())
"""Somebody who showed no credential, and needs none where he is."""
