"""Who makes a change, for permission and for the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmgateway_server.admin.scopes import SCOPES
from llmgateway_server.names import tenant_of
from llmgateway_server.principal import Principal

DEFAULT_TENANT: Final = "tenants/default"
"""The tenant that the first start makes. It also owns the audit events of changes that belong to no other tenant."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal in one request."""

    principal: Principal
    request_id: str = ""
    """The request's id, which the logs carry too."""

    @property
    def name(self) -> str:
        """How the audit log names the caller: an API key's name, or `system`."""
        return self.principal.api_key or "system"

    def audit_tenant(self, resource: str) -> str:
        """The tenant whose audit log a change of a resource belongs to."""
        return tenant_of(resource) or self.principal.tenant or DEFAULT_TENANT


SYSTEM: Final = Caller(Principal(tenant="", api_key="", scopes=frozenset(SCOPES)))
"""The gateway itself, as when it starts for the first time or reads resources from its configuration."""
