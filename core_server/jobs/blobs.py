"""Images on disk, named by what is in them.

A blob is one file: a magic word, the lengths of header and payload, the header as JSON, the payload as received. Its
name is the SHA-256 of the last two. It is written under another name, synced and renamed, so a file with a proper
name is whole; what a crash left half-written is swept when the store is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import struct
import sys
import threading
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from core_server.errors import ImageNotFound
from core_server.jobs.checkpoints import Reached, nobody
from core_server.jobs.job import ImageHeader

_PREAMBLE = struct.Struct("<8sIQ")
_MAGIC = b"SCUMBLE1"
_NAME = re.compile(r"[0-9a-f]{64}")
_PART = ".part"
_WRITE_BYTES = 512 * 1024
"""At once: for more, Linux looks for huge pages to cache it in, which takes six times as long as the writing itself."""

_headers = msgspec.json.Decoder(ImageHeader)


@dataclass(slots=True)
class _Entry:
    size: int
    used: float


class BlobStore:
    """Images in `folder`, by id. Thread-safe. Files are readable by their owner alone."""

    def __init__(self, folder: Path, reached: Reached = nobody) -> None:
        self._folder = folder
        self._reached = reached
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._scan()

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def put(self, header: ImageHeader, payload: bytes | memoryview) -> str:
        """Stores an image, on disk when it returns, and gives its id. What is there already is not written again."""
        head = msgspec.json.encode(header)
        digest = hashlib.sha256(head)
        digest.update(payload)
        image_id = digest.hexdigest()
        if self.touch(image_id):
            return image_id
        size = memoryview(payload).nbytes
        path = self._path(image_id)
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self._folder)
        part = path.with_name(f"{image_id}.{secrets.token_hex(4)}{_PART}")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123
                self._reached("blob.opened")
                file.write(_PREAMBLE.pack(_MAGIC, len(head), size))
                file.write(head)
                for piece in _pieces(payload):
                    file.write(piece)
                file.flush()
                self._reached("blob.written")
                os.fsync(file.fileno())
            self._reached("blob.synced")
            part.replace(path)
            self._reached("blob.renamed")
            _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # a read-only disk: the next start sweeps it
                part.unlink(missing_ok=True)
            raise
        with self._lock:
            self._entries[image_id] = _Entry(_PREAMBLE.size + len(head) + size, time.time())
        return image_id

    def get(self, image_id: str) -> tuple[ImageHeader, bytes]:
        """An image as it was stored. Errors: ImageNotFound."""
        with self._open(image_id) as (file, head_size, size):
            header = _headers.decode(file.read(head_size))
            payload = file.read(size)
        return header, payload

    def header(self, image_id: str) -> ImageHeader:
        """What an image is. Errors: ImageNotFound."""
        with self._open(image_id) as (file, head_size, _):
            return _headers.decode(file.read(head_size))

    def touch(self, image_id: str) -> bool:
        """Whether an image is there; if so it counts as used now."""
        with self._lock:
            entry = self._entries.get(image_id)
            if entry is None:
                return False
            entry.used = time.time()
        try:
            os.utime(self._path(image_id))
        except FileNotFoundError:
            self.discard([image_id])
            return False
        return True

    def unused(self, needed: Container[str], since: float) -> list[str]:
        """Ids that are not needed and were last used before `since`, the longest unused first."""
        with self._lock:
            idle = [
                (entry.used, image_id)
                for image_id, entry in self._entries.items()
                if entry.used < since and image_id not in needed
            ]
        return [image_id for _, image_id in sorted(idle)]

    def discard(self, image_ids: Iterable[str], *, used_before: float | None = None) -> int:
        """Deletes images, only those last used before a time if one is given; returns the bytes given back."""
        freed = 0
        for image_id in image_ids:
            with self._lock:
                entry = self._entries.get(image_id)
                if entry is None or (used_before is not None and entry.used >= used_before):
                    continue
                del self._entries[image_id]
                # Under the lock, so that a `put` of the same image writes it anew afterwards.
                with contextlib.suppress(
                    OSError
                ):  # on Windows: somebody reads it; swept as unneeded later
                    self._path(image_id).unlink(missing_ok=True)
            freed += entry.size
        return freed

    @contextlib.contextmanager
    def _open(self, image_id: str) -> Iterator[tuple[BinaryIO, int, int]]:
        """The open file behind its preamble, and the lengths of header and payload.

        A file that was deleted or cut behind our back is forgotten, so that the image can be stored again.
        """
        with self._lock:
            known = image_id in self._entries
        if not known:
            raise ImageNotFound(image_id)
        try:
            with self._path(image_id).open("rb") as file:
                magic, head_size, size = _PREAMBLE.unpack(file.read(_PREAMBLE.size))
                whole = _PREAMBLE.size + head_size + size
                if magic != _MAGIC or os.fstat(file.fileno()).st_size != whole:
                    raise struct.error
                yield file, head_size, size
        except (FileNotFoundError, struct.error):
            self.discard([image_id])
            raise ImageNotFound(image_id) from None

    def _path(self, image_id: str) -> Path:
        return self._folder / image_id[:2] / image_id

    def _scan(self) -> None:
        """Learns what is there and sweeps half-written files."""
        for path in self._folder.glob("??/*"):
            if path.name.endswith(_PART):
                path.unlink(missing_ok=True)
            elif _NAME.fullmatch(path.name):
                status = path.stat()
                self._entries[path.name] = _Entry(status.st_size, status.st_mtime)


_BINARY = getattr(os, "O_BINARY", 0)


def _pieces(payload: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(payload)
    for start in range(0, len(view), _WRITE_BYTES):
        yield view[start : start + _WRITE_BYTES]


def _sync_folder(folder: Path) -> None:
    """Makes a rename survive a power cut; Windows does it by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
