"""SHA-256 of files that recipes name; read once for each change of a file. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]
_known: dict[tuple[str, int, int], str] = {}


def stamp_of(files: Sequence[Path]) -> Stamp:
    """Path, size and time of change (ns) of each: others after a file was replaced."""
    return tuple(
        (str(path), stat.st_size, stat.st_mtime_ns) for path in files for stat in [path.stat()]
    )


def sha256_of(path: Path) -> str:
    """Of a file."""
    [key] = stamp_of([path])
    if key not in _known:
        with path.open("rb") as stream:
            _known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _known[key]


def sha256_of_all(files: Sequence[Path]) -> str:
    """Of one file its own, as the Hub tells it; of several over their names and hashes, in the order given."""
    if len(files) == 1:
        return sha256_of(files[0])
    lines = (f"{path.name}\0{sha256_of(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hashing(files: Sequence[Path]) -> Future[str]:
    """`sha256_of_all` in a thread, while the same files are being loaded."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="hash")
    future = executor.submit(sha256_of_all, tuple(files))
    executor.shutdown(wait=False)
    return future
