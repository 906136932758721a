"""Keeps account of what a dialect cannot say: a warning for the caller, or a refusal where the caller is strict."""

from __future__ import annotations

from llmgateway.v1.content_pb2 import Warning as ChatWarning
from llmgateway_server.errors import unsupported


class Omissions:
    """What was left out of one request, or changed in it. `field` is the request field, in the proto's own spelling."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._warnings: list[ChatWarning] = []
        self._told: set[str] = set()

    @property
    def warnings(self) -> tuple[ChatWarning, ...]:
        """A warning for each omission, in order."""
        return tuple(self._warnings)

    def ignore(self, field: str, message: str) -> None:
        """Says that a field is left out. Raises UNSUPPORTED_FEATURE where the caller wants it strict."""
        self._note(ChatWarning.CODE_FIELD_IGNORED, field, message)

    def ignore_once(self, what: str, field: str, message: str) -> None:
        """Says of the first field of a kind that it is left out. Others of the kind go without a word."""
        if what not in self._told:
            self._told.add(what)
            self.ignore(field, message)

    def lose(self, field: str, message: str) -> None:
        """Says that a field is passed on with a loss. Raises UNSUPPORTED_FEATURE where the caller wants it strict."""
        self._note(ChatWarning.CODE_LOSSY, field, message)

    def _note(self, code: ChatWarning.Code, field: str, message: str) -> None:
        if self._strict:
            raise unsupported(field, message)
        self._warnings.append(ChatWarning(code=code, field=field, message=message))
