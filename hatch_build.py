"""Adds to the wheel what the server reads at run time beside its code."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataFiles(BuildHookInterface[Any]):
    """Puts Envoy's configuration and the descriptor set into `llmgateway_server/data/`.

    Hatchling's own `force-include` would do, but it also copies the files into an editable install, where the
    copies go stale; there the server reads the originals.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build of the given version, "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"] |= {
                "envoy": "llmgateway_server/data/envoy",
                "gen/descriptors.binpb": "llmgateway_server/data/descriptors.binpb",
            }
