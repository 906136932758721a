"""Envoy's configuration: the template of the project, filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from llmgateway_server.edge.addresses import quotable
from llmgateway_server.edge.options import EdgeOptions

_REST_PACKAGE = "llmgateway.v1."
"""Services whose annotations say their REST form. OpenAI's has routes of its own, and gRPC's services have none."""


def render(options: EdgeOptions, *, listen: tuple[str, int], upstream: str, admin: str) -> str:
    """Envoy's configuration, whole. `upstream` and `admin` are addresses in Envoy's own words."""
    template = _data_file("envoy/envoy.yaml", "envoy/envoy.yaml")
    values: Mapping[str, object] = {
        "LISTEN_HOST": listen[0],
        "LISTEN_PORT": listen[1],
        "UPSTREAM_ADDRESS": upstream,
        "ADMIN_ADDRESS": admin,
        "CONFIG_DIR": quotable(template.parent),
        "DESCRIPTORS": quotable(_data_file("descriptors.binpb", "gen/descriptors.binpb")),
        "GRPC_SERVICES": "|".join(service.replace(".", "[.]") for service in options.services),
        "REST_SERVICES": ", ".join(service for service in options.services if service.startswith(_REST_PACKAGE)),
        "BODY_LIMIT": options.body_limit,
        "BODY_LIMIT_PLUS_ONE": options.body_limit + 1,
        "DISCARD_LIMIT": 2 * options.body_limit + 1,
        "ANSWER_LIMIT": options.answer_limit,
        "STREAM_IDLE_TIMEOUT": f"{options.stream_idle_timeout:g}s",
        "MAX_DEADLINE": f"{options.max_deadline:g}s",
        "REQUEST_HEADERS_TIMEOUT": f"{options.request_headers_timeout:g}s",
        "ACCESS_LOG_PERCENT": options.access_log_percent,
        "HEAP_LIMIT": options.heap_limit,
        "MAX_CONNECTIONS": options.max_connections,
    }
    return re.sub(r"\$\{([A-Z_]+)\}", lambda name: str(values[name[1]]), template.read_text())


def _data_file(packaged: str, original: str) -> Path:
    """A file that a wheel carries inside the package, and a work tree has where it belongs."""
    package = Path(__file__).parent.parent
    inside = package / "data" / packaged
    return inside if inside.exists() else package.parent.parent / original
