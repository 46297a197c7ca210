"""Images of clients, in and out: checked, kept under the store's limit, and seen by those alone who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

from core_server.config import MIB, Limits
from core_server.errors import ImageNotFound, LimitExceeded
from core_server.jobs import codec
from core_server.jobs.blobs import BlobStore
from core_server.jobs.disk import full_disk_told
from core_server.jobs.job import ImageEncoding, ImageHeader, Job, StoredImage
from core_server.jobs.ledger import Ledger
from core_server.jobs.store import Store
from core_server.jobs.uploads import Upload

PIECE_BYTES = MIB
"""Of an image on its way out."""
_BLOCK_BYTES = 8 * MIB
"""Read at a time: most images are one block, and are read where their header is."""

Storing = Coroutine[Any, Any, StoredImage]


class Images:
    """All methods are called on one event loop.

    whole: carries a change to its end, whether its caller waits or not. collect: makes room for so many bytes.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        limits: Limits,
        whole: Callable[[Storing], Awaitable[StoredImage]],
        collect: Callable[[int], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._limits = limits
        self._whole = whole
        self._collect = collect

    async def put(self, owner: str, header: ImageHeader, payload: bytes) -> StoredImage:
        """Stores an owner's image as it was received, once it is known to be sound; on disk when it returns.

        Errors: InvalidRequest, LimitExceeded.
        """
        await asyncio.to_thread(codec.decode, header, payload, self._limits)
        return await self._whole(self._put(owner, header, payload))

    @asynccontextmanager
    async def receiving(self, header: ImageHeader, size: int) -> AsyncIterator[Upload]:
        """Takes a RAW image of `size` bytes piece by piece. Within the block `keep` makes it an owner's; what was not
        kept is removed behind it. Errors: LimitExceeded, FailedPrecondition for a folder that cannot be written.
        """
        await self._check_room(size)
        upload = Upload(self._blobs, header, size)
        try:
            with full_disk_told():
                yield upload
        finally:
            await upload.abandon()

    async def keep(self, owner: str, upload: Upload) -> StoredImage:
        """Ends an upload; it is on disk when this returns. Errors: those of its last piece and of the disk."""
        return await self._whole(self._keep(owner, upload.header, upload.finish()))

    async def get(
        self, owner: str, image_id: str, encoding: ImageEncoding | None
    ) -> tuple[ImageHeader, bytes]:
        """An owner's image as it is stored, or packed as asked.

        Errors: ImageNotFound, InvalidRequest for a packing that cannot hold it.
        """
        await self._check_visible(owner, image_id)
        header, payload = await asyncio.to_thread(self._blobs.get, image_id)
        if encoding is None or encoding is header.encoding:
            return header, payload
        return await asyncio.to_thread(codec.repack, header, payload, encoding, self._limits)

    async def of_result(self, job: Job, most: int) -> dict[str, tuple[ImageHeader, bytes]]:
        """A job's pictures and masks by id, as they are stored; none if they have more than `most` bytes together, or
        if one has gone."""
        stored = {it.image_id: it.header for it in _stored(job)}
        size = sum(codec.raw_size(it) + len(it.icc_profile) for it in stored.values())
        if not stored or size > most:
            return {}
        try:
            return await asyncio.to_thread(lambda: {it: self._blobs.get(it) for it in stored})
        except ImageNotFound:
            return {}

    async def stream(
        self, owner: str, image_id: str, encoding: ImageEncoding | None
    ) -> tuple[ImageHeader, AsyncIterator[memoryview]]:
        """As `get`, in pieces: while some travel the next ones are read."""
        blocks = self._blobs.blocks(image_id, _BLOCK_BYTES)
        reading = asyncio.to_thread(lambda: (self._blobs.header(image_id), next(blocks, b"")))
        _, (header, block) = await asyncio.gather(self._check_visible(owner, image_id), reading)
        if encoding is None or encoding is header.encoding:
            return header, _pieces(block, blocks)
        header, packed = await self.get(owner, image_id, encoding)
        return header, _pieces(packed, iter(()))

    async def _put(self, owner: str, header: ImageHeader, payload: bytes) -> StoredImage:
        await self._check_room(len(payload))
        putting = asyncio.to_thread(self._blobs.put, header, payload)
        return await self._keep(owner, header, putting)

    async def _keep(
        self, owner: str, header: ImageHeader, storing: Coroutine[Any, Any, str]
    ) -> StoredImage:
        with full_disk_told():
            image_id = await storing
            await self._ledger.db(Store.grant, owner, image_id)
        return StoredImage(image_id=image_id, header=header)

    async def _check_room(self, size: int) -> None:
        limit = self._limits.max_store_bytes
        if size <= limit < self._blobs.total_bytes + size:
            await self._collect(size)
        if self._blobs.total_bytes + size > limit:
            raise LimitExceeded(
                f"The image store has no room for {size} more bytes: it may hold {limit}, and unfinished jobs and "
                "recent uploads need what is in it. Wait for jobs to end, or let it hold more.",
                limit="max_store_bytes",
                value=str(limit),
            )

    async def _check_visible(self, owner: str, image_id: str) -> None:
        if not await self._ledger.db(Store.may_see, owner, image_id):
            raise ImageNotFound(image_id)


def _stored(job: Job) -> Iterator[StoredImage]:
    for result in job.results:
        yield result.image
        if result.composite_mask is not None:
            yield result.composite_mask


async def _pieces(block: bytes, blocks: Iterator[bytes]) -> AsyncIterator[memoryview]:
    """Of the block and those that follow."""
    while block:
        # A short one is the last; to ask a thread for more takes longer than to read one.
        is_last = len(block) < _BLOCK_BYTES
        reading = None if is_last else asyncio.create_task(asyncio.to_thread(next, blocks, b""))
        try:
            view = memoryview(block)
            for start in range(0, len(view), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]
        finally:
            # Whoever was reading may have gone: the thread is let end before the file is closed.
            if reading is not None:
                await asyncio.wait({reading})
                reading.exception()  # raised below, or nobody's business any more
        block = b"" if reading is None else reading.result()
