"""Memory: what is free, what is given back, and a stage's peak."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from functools import cache

import psutil

SAMPLE_SECONDS = 0.02


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can.

    glibc keeps much of what worker threads freed; without this each stage's peak would stand on what the earlier ones left.
    """
    gc.collect()
    _set_imports_aside()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@cache
def _set_imports_aside() -> None:
    """Let the collector pass over what is there before the first stage, a million objects of modules: .4 s a collection."""
    gc.freeze()


def free_memory() -> int:
    """Bytes that the machine could give now."""
    return int(psutil.virtual_memory().available)


class PeakMemory:
    """Largest resident memory of this process while the block runs, sampled every 20 ms."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self.bytes = int(self._process.memory_info().rss)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, int(self._process.memory_info().rss))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
