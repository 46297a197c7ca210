"""How a process's memory is kept: blocks that it has freed, by glibc, and objects that live long, by Python.

By default every block above 128 KiB comes fresh from the system, which maps and clears it page by page when it is first
written to: for a picture of 512 px that costs more than all its copies, on virtual machines ten times so.
Source: mallopt(3), M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX. Elsewhere than with glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from core_server.config import MIB

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
GATEWAY_ARENAS = 2
GATEWAY_BLOCK_BYTES, GATEWAY_KEPT_BYTES = 8 * MIB, 16 * MIB
WORKER_BLOCK_BYTES, WORKER_KEPT_BYTES = 32 * MIB, 128 * MIB


def reuse_blocks(block_bytes: int, kept_bytes: int, arenas: int = 0) -> bool:
    """Blocks of up to `block_bytes` (at most 32 MiB) are used again; up to `kept_bytes` at the heap's end stay with the
    process. Whether this C library can do so.

    arenas: heaps that the threads share; 0 for as many as glibc likes, eight for each core. Each keeps what its threads
    have freed: six threads for pictures held 22 MiB more after 72 uploads of 1.4 MiB, and went on growing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    if arenas:
        mallopt(_M_ARENA_MAX, arenas)
    return bool(mallopt(_M_MMAP_THRESHOLD, block_bytes) and mallopt(_M_TRIM_THRESHOLD, kept_bytes))


def settle() -> None:
    """What lives now is not looked at again when Python looks for cycles, until `unsettle`.

    Libraries and models are half a million objects; to look through them takes 0.3 s, in the midst of a stroke or a
    picture. What refers to itself among them is freed only after `unsettle`. Source: Python's documentation, gc.freeze.
    """
    gc.freeze()


def unsettle() -> None:
    """Undoes `settle`: something large goes, and whatever refers to itself is to go with it."""
    gc.unfreeze()


@contextmanager
def settled() -> Iterator[None]:
    """`settle` for as long as the context lasts."""
    settle()
    try:
        yield
    finally:
        unsettle()
