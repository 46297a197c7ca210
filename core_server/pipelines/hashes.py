"""SHA-256 of files that recipes name; read once for each change of a file. Free of torch.

A gigabyte takes a core a second, and the first picture waits for it: hashes of large files are kept on disk.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

Stamp = tuple[tuple[str, int, int], ...]
_known: dict[tuple[str, int, int], str] = {}
HASHES = "hashes"
"""Folder of `KeptHashes` in the data folder."""
WORTH_KEEPING = 1 << 26
"""Bytes of the smallest files whose hashes are kept on disk."""
_Entry = tuple[str, int, int, str]
_AT_ONCE = min(4, max(1, (os.cpu_count() or 1) // 4))
"""Files that are hashed at once: whoever loads them needs most of the processor."""


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


def hashing_by_name(
    files: Mapping[str, Path], sha256: Callable[[Path], str] = sha256_of
) -> Future[str]:
    """Over names and contents, in threads, while the same files are being loaded. sha256: what reads a file."""

    def work() -> str:
        total = hashlib.sha256()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hash") as pool:
            for name, digest in zip(files, pool.map(sha256, files.values()), strict=True):
                total.update(f"{name}\0{digest}\n".encode())
        return total.hexdigest()

    executor = ThreadPoolExecutor(1, thread_name_prefix="hash")
    future = executor.submit(work)
    executor.shutdown(wait=False)
    return future


class KeptHashes:
    """Hashes of large files, kept in a folder until a file changes (path, size, time of change). Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sha256_of(self, path: Path) -> str:
        """Of a file, read if it is not known."""
        [stamp] = stamp_of([path])
        if stamp not in _known and stamp[1] >= WORTH_KEEPING:
            with suppress(OSError, msgspec.MsgspecError):  # it is hashed again then
                kept = msgspec.json.decode(self._entry(path).read_bytes(), type=_Entry)
                if kept[:3] == stamp:
                    return _known.setdefault(stamp, kept[3])
            self.keep(path, sha256_of(path))
        return sha256_of(path)

    def keep(self, path: Path, digest: str) -> None:
        """Whoever has read the file already, such as its installation, knows its hash. A full disk is no error."""
        [stamp] = stamp_of([path])
        if stamp[1] < WORTH_KEEPING:
            return
        _known[stamp] = digest
        entry = self._entry(path)
        part = entry.with_suffix(f".{secrets.token_hex(4)}.part")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode((*stamp, digest)))
            part.replace(entry)

    def forget(self, path: Path) -> None:
        """The file goes."""
        self._entry(path).unlink(missing_ok=True)

    def _entry(self, path: Path) -> Path:
        name = hashlib.sha256(str(path).encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"
