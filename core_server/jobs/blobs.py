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
import struct
import threading
import time
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from core_server.config import MIB
from core_server.errors import ImageNotFound
from core_server.jobs.blob_writer import MAGIC, PART, PREAMBLE, BlobWriter
from core_server.jobs.checkpoints import Reached, nobody
from core_server.jobs.job import ImageHeader

_NAME = re.compile(r"[0-9a-f]{64}")
_SMALL_BYTES = 1 * MIB
"""Up to this size an image is hashed before anything is written: it may be there already."""
_HASHING_THREADS = 2

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
        self._hashing = ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="hash")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._scan()

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def writer(self, header: ImageHeader, size: int) -> BlobWriter:
        """Takes an image of `size` bytes piece by piece."""
        return BlobWriter(
            self._folder,
            header,
            size,
            hashing=self._hashing,
            reached=self._reached,
            finished=lambda image_id: None if self.touch(image_id) else self._path(image_id),
            adopted=self._adopt,
        )

    def put(self, header: ImageHeader, payload: bytes | memoryview) -> str:
        """Stores an image, on disk when it returns, and gives its id. What is there already is not stored again."""
        size = memoryview(payload).nbytes
        if size <= _SMALL_BYTES:
            image_id = _name_of(header, payload)
            if self.touch(image_id):
                return image_id
        writer = self.writer(header, size)
        try:
            writer.write(payload)
        except BaseException:
            writer.abandon()
            raise
        return writer.finish()

    def get(self, image_id: str) -> tuple[ImageHeader, bytes]:
        """An image as it was stored. Errors: ImageNotFound."""
        with self._open(image_id) as (file, head_size, size):
            header = _headers.decode(file.read(head_size))
            payload = file.read(size)
        return header, payload

    def blocks(self, image_id: str, size: int) -> Iterator[bytes]:
        """The payload, `size` bytes at a time. Errors: ImageNotFound, also for a file that is cut meanwhile."""
        with self._open(image_id) as (file, head_size, whole):
            file.seek(head_size, os.SEEK_CUR)
            left = whole
            while left:
                block = file.read(min(size, left))
                if not block:
                    raise ImageNotFound(image_id)
                left -= len(block)
                yield block

    def place(self, image_id: str) -> tuple[ImageHeader, Path, int]:
        """What an image is, its file, and where in that its payload begins. Errors: ImageNotFound."""
        with self._open(image_id) as (file, head_size, _):
            header = _headers.decode(file.read(head_size))
            return header, self._path(image_id), PREAMBLE.size + head_size

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
                magic, head_size, size = PREAMBLE.unpack(file.read(PREAMBLE.size))
                whole = PREAMBLE.size + head_size + size
                if magic != MAGIC or os.fstat(file.fileno()).st_size != whole:
                    raise struct.error
                yield file, head_size, size
        except (FileNotFoundError, struct.error):
            self.discard([image_id])
            raise ImageNotFound(image_id) from None

    def _adopt(self, image_id: str, size: int) -> None:
        with self._lock:
            self._entries[image_id] = _Entry(size, time.time())

    def _path(self, image_id: str) -> Path:
        return self._folder / image_id[:2] / image_id

    def _scan(self) -> None:
        """Learns what is there and sweeps half-written files."""
        for part in self._folder.glob(f"*{PART}"):
            part.unlink(missing_ok=True)
        for path in self._folder.glob("??/*"):
            if path.name.endswith(PART):  # as earlier versions named them
                path.unlink(missing_ok=True)
            elif _NAME.fullmatch(path.name):
                status = path.stat()
                self._entries[path.name] = _Entry(status.st_size, status.st_mtime)


def _name_of(header: ImageHeader, payload: bytes | memoryview) -> str:
    digest = hashlib.sha256(msgspec.json.encode(header))
    digest.update(payload)
    return digest.hexdigest()
