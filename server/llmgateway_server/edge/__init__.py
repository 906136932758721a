"""Envoy in front of the gateway: fills in its configuration, runs it as a child, and starts it again when it dies."""

from llmgateway_server.edge.errors import EdgeError
from llmgateway_server.edge.options import ALL_SERVICES, PUBLIC_SERVICES, EdgeOptions
from llmgateway_server.edge.supervisor import Edge

__all__ = ["ALL_SERVICES", "PUBLIC_SERVICES", "Edge", "EdgeError", "EdgeOptions"]
