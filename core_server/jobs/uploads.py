"""A raw image on its way into the store: while a piece is checked, hashed and written, the next one travels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from core_server.jobs.blob_writer import BlobWriter
from core_server.jobs.blobs import BlobStore
from core_server.jobs.codec import SampleCheck
from core_server.jobs.job import ImageHeader


class Upload:
    """Takes exactly `size` bytes, then `finish`; at any time `abandon`. All on one event loop, one call at a time."""

    def __init__(self, blobs: BlobStore, header: ImageHeader, size: int) -> None:
        self.header = header
        self._file = _File(blobs, header, size)
        self._busy: asyncio.Task[None] | None = None
        self._finishes = False

    async def add(self, piece: bytes | memoryview) -> None:
        """The next bytes; what is wrong with them may be told by the next call.

        Errors: InvalidRequest for NaN or infinity, OSError.
        """
        # Whatever ends the wait, the piece is still being written: `abandon` waits for it.
        if self._busy is not None:
            await asyncio.shield(self._busy)
        writing = asyncio.to_thread(self._file.add, piece)
        self._busy = asyncio.create_task(writing, name="write upload")

    def finish(self) -> Coroutine[Any, Any, str]:
        """Gives the image's id, once it is on disk. From the call on nothing is abandoned. Errors: as `add`."""
        self._finishes = True
        return self._finish()

    async def abandon(self) -> None:
        """Removes what was written; does nothing after `finish`."""
        if self._finishes or self._busy is None:
            return
        await asyncio.wait({self._busy})
        self._busy.exception()  # told to whoever waited for it, or of no interest any more
        await asyncio.to_thread(self._file.abandon)

    async def _finish(self) -> str:
        try:
            if self._busy is not None:
                await self._busy
        except BaseException:
            await asyncio.to_thread(self._file.abandon)
            raise
        return await asyncio.to_thread(self._file.finish)


class _File:
    """The side on threads. Opened with the first piece, on the thread that writes it."""

    def __init__(self, blobs: BlobStore, header: ImageHeader, size: int) -> None:
        self._blobs, self._header, self._size = blobs, header, size
        self._check = SampleCheck(header)
        self._writer: BlobWriter | None = None

    def add(self, piece: bytes | memoryview) -> None:
        if self._writer is None:
            self._writer = self._blobs.writer(self._header, self._size)
        self._check.add(piece)
        self._writer.write(piece)

    def finish(self) -> str:
        assert self._writer is not None
        return self._writer.finish()

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
