"""Keeps the one secret that an answer can carry, a new API key, out of logs."""

from llmgateway_client.generated.llmgateway import v1


def install() -> None:
    """Makes the text of an API key, which generated code would show whole, leave out its secret."""
    v1.ApiKey.__repr__ = _redacted


def _redacted(self: v1.ApiKey) -> str:
    return f"ApiKey(name={self.name!r}, prefix={self.prefix!r}, disabled={self.disabled!r}, scopes={self.scopes!r})"
