"""The scopes of API keys: what each lets its bearer do."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from llmgateway_server.principal import PLATFORM

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
