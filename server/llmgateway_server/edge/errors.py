"""What goes wrong with Envoy itself."""


class EdgeError(Exception):
    """Envoy cannot be run. The message says why and what to do."""
