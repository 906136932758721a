"""Runs the gateway's command under the standard profiler, which SIGUSR1 starts and stops.

`python -m tests.bench.profiled FILE serve` leaves the profile of the time between two signals in FILE.
"""

from __future__ import annotations

import cProfile
import signal
import sys
from pathlib import Path
from types import FrameType

from llmgateway_server.__main__ import main as gateway


class Switch:
    """Starts the profiler with the first signal, stops it and writes the file with the second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._profile = cProfile.Profile()
        self._running = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._running = not self._running
        if self._running:
            self._profile.enable()
            return
        self._profile.disable()
        part = self._file.with_suffix(".part")
        self._profile.dump_stats(part)
        part.rename(self._file)


def main() -> None:
    """Takes the file off the command line and leaves the rest of it to the gateway."""
    signal.signal(signal.SIGUSR1, Switch(Path(sys.argv.pop(1))))
    gateway()


if __name__ == "__main__":
    main()
