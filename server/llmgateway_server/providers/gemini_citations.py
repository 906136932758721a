"""Collects the sources that a Gemini answer names, and finds the places of its text that they are for.

The provider counts in bytes of UTF-8, from the beginning of the answer's text; we count in characters of a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from llmgateway.v1.content_pb2 import Citation
from llmgateway_server.providers.json_values import (
    Json,
    count_of,
    details_of,
    json_list,
    json_object,
    json_objects,
    text_of,
)

_CHUNKS = ("web", "retrievedContext", "maps", "image")
_EMPTY: Json = {}


class _Source(NamedTuple):
    start: int
    """First byte that the source is for."""
    end: int
    """The byte after the last one. Zero means that the place is not told."""
    url: str
    title: str


class Sources:
    """The sources of one answer, and its texts."""

    def __init__(self) -> None:
        self._texts: list[tuple[int, list[str]]] = []
        self._cited: dict[_Source, None] = {}
        self._taken: set[_Source] = set()

    @property
    def first_text(self) -> int | None:
        """The key of the first text part; None when there is none."""
        return self._texts[0][0] if self._texts else None

    def begin_text(self, key: int) -> list[str]:
        """Begins a text part. The list is for its pieces, to be added to as they come."""
        pieces: list[str] = []
        self._texts.append((key, pieces))
        return pieces

    def read(self, candidate: Json) -> None:
        """Reads the sources that a candidate names. Frames may name them again."""
        if cited := candidate.get("citationMetadata"):
            fields = json_object(cited)
            # The Gemini API and Vertex AI have a name each for the list.
            for source in json_objects(fields.get("citationSources") or fields.get("citations") or []):
                place = (count_of(source, "startIndex"), count_of(source, "endIndex"))
                self._cited[_Source(*place, text_of(source, "uri"), text_of(source, "title"))] = None
        if grounding := candidate.get("groundingMetadata"):
            self._cited.update(dict.fromkeys(_grounded(json_object(grounding))))

    def take(self) -> Iterable[tuple[int, list[Citation]]]:
        """The citations since the last call, of each text part that has some, with the part's key."""
        sources = [source for source in self._cited if source not in self._taken]
        if not sources or not self._texts:
            return ()
        self._taken.update(sources)
        texts = [(key, "".join(pieces)) for key, pieces in self._texts]
        raw = "".join(text for _, text in texts).encode()
        found: dict[int, list[Citation]] = {}
        for source in sources:
            start, end = _characters(raw, source.start), _characters(raw, source.end)
            for key, text in texts:
                if start < len(text) or key == texts[-1][0]:
                    found.setdefault(key, []).append(
                        Citation(url=source.url, title=source.title, start_index=start, end_index=min(end, len(text)))
                    )
                    break
                start, end = start - len(text), max(end - len(text), 0)
        return found.items()


def _characters(raw: bytes, count: int) -> int:
    """How many characters the first `count` bytes are."""
    return len(raw[:count].decode(errors="ignore"))


def _grounded(grounding: Json) -> Iterator[_Source]:
    """A source for each place of the text that a chunk supports, or for each chunk where no place is told."""
    chunks = [_chunk(chunk) for chunk in json_objects(grounding.get("groundingChunks") or [])]
    supports = json_objects(grounding.get("groundingSupports") or [])
    if not supports:
        yield from (_Source(0, 0, *chunk) for chunk in chunks)
    for support in supports:
        segment = details_of(support, "segment")
        for index in json_list(support.get("groundingChunkIndices") or []):
            if isinstance(index, int) and 0 <= index < len(chunks):
                yield _Source(count_of(segment, "startIndex"), count_of(segment, "endIndex"), *chunks[index])


def _chunk(chunk: Json) -> tuple[str, str]:
    fields = next((details_of(chunk, name) for name in _CHUNKS if name in chunk), _EMPTY)
    return text_of(fields, "uri") or text_of(fields, "sourceUri"), text_of(fields, "title")
