"""One image on its way to disk: hashed and written piece by piece, and under its proper name only when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

import msgspec

from core_server.jobs.checkpoints import Reached
from core_server.jobs.job import ImageHeader

PREAMBLE = struct.Struct("<8sIQ")
MAGIC = b"SCUMBLE1"
PART = ".part"
_WRITE_BYTES = 512 * 1024
"""At once: for 2 MiB or more, Linux looks for huge pages to cache it in, which takes six times as long as the writing
itself."""
_BESIDE_BYTES = 128 * 1024
"""From this size on a piece is hashed on another thread while it is written; below, asking that thread takes longer."""
_BINARY = getattr(os, "O_BINARY", 0)


class BlobWriter:
    """Takes `size` bytes of payload, then `finish`; at any time `abandon`. Used by one thread at a time.

    finished: called with the image's id; returns where it belongs, or None if it is there already.
    adopted: called with the id and the file's size once it is there.
    """

    def __init__(
        self,
        folder: Path,
        header: ImageHeader,
        size: int,
        *,
        hashing: Executor,
        reached: Reached,
        finished: Callable[[str], Path | None],
        adopted: Callable[[str, int], None],
    ) -> None:
        self._head = msgspec.json.encode(header)
        self._size = size
        self._left = size
        self._hashing = hashing
        self._reached = reached
        self._finished = finished
        self._adopted = adopted
        self._digest = hashlib.sha256(self._head)
        self._hashed: Future[None] | None = None
        self._part = folder / f"{secrets.token_hex(16)}{PART}"
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
        self._file = open(descriptor, "wb")  # noqa: PTH123, SIM115
        try:
            reached("blob.opened")
            self._file.write(PREAMBLE.pack(MAGIC, len(self._head), size))
            self._file.write(self._head)
        except BaseException:
            self.abandon()
            raise

    def write(self, piece: bytes | memoryview) -> None:
        """The next bytes of the payload. Copied by nobody but the disk's cache."""
        view = memoryview(piece)
        self._left -= view.nbytes
        self._wait_for_hash()
        if view.nbytes < _BESIDE_BYTES:
            self._digest.update(view)
            self._file.write(view)
            return
        self._hashed = self._hashing.submit(self._digest.update, view)
        for part in _parts(view):
            self._file.write(part)

    def finish(self) -> str:
        """On disk when it returns; gives the image's id. What is there already is not stored again."""
        if self._left:
            self.abandon()
            raise ValueError(f"{self._left} bytes of the image's {self._size} are missing")
        try:
            # A hash that is not there yet is waited for beside the disk, not before it.
            if self._hashed is None or self._hashed.done():
                image_id, path = self._place()
                if path is None:
                    self.abandon()
                    return image_id
            self._file.flush()
            self._reached("blob.written")
            os.fsync(self._file.fileno())
            self._reached("blob.synced")
            self._file.close()
            image_id, path = self._place()
            if path is None:
                self.abandon()
                return image_id
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                sync_folder(path.parent.parent)
            self._part.replace(path)
            self._reached("blob.renamed")
            sync_folder(path.parent)
        except BaseException:
            self.abandon()
            raise
        self._adopted(image_id, PREAMBLE.size + len(self._head) + self._size)
        return image_id

    def abandon(self) -> None:
        """Removes what was written; does nothing once the image is in its place."""
        self._wait_for_hash()
        with contextlib.suppress(OSError):  # its last bytes find no room, or it is closed
            self._file.close()
        with contextlib.suppress(OSError):  # a read-only disk: the next start sweeps it
            self._part.unlink(missing_ok=True)

    def _place(self) -> tuple[str, Path | None]:
        self._wait_for_hash()
        image_id = self._digest.hexdigest()
        return image_id, self._finished(image_id)

    def _wait_for_hash(self) -> None:
        if self._hashed is not None:
            self._hashed.result()
            self._hashed = None


def _parts(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), _WRITE_BYTES):
        yield view[start : start + _WRITE_BYTES]


def sync_folder(folder: Path) -> None:
    """Makes a rename survive a power cut; Windows does it by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
