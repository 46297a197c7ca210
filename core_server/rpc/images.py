"""Images in pieces of about 1 MiB, so that no message limit is raised for a large picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager

from core_server.config import MIB, Limits
from core_server.errors import InvalidRequest, LimitExceeded
from core_server.jobs.images import Images
from core_server.jobs.job import ImageHeader, StoredImage
from core_server.rpc.chunks import Chunk
from core_server.rpc.convert.image import from_proto_header, payload_bytes, to_proto_header
from scumble.v1 import generation_service_pb2 as messages

MAX_CHUNK_BYTES = 2 * MIB

Part = messages.UploadImageRequest | Chunk


class Uploads:
    """Receives images; all uploads together have no more bytes than the largest single one may."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def receive(self, owner: str, parts: AsyncIterator[Part], images: Images) -> StoredImage:
        """The owner's image, on disk. Errors: InvalidRequest, LimitExceeded, both at a piece that is wrong or right
        behind it."""
        first = await self._next(parts)
        if not isinstance(first, messages.UploadImageRequest) or not first.HasField("header"):
            raise InvalidRequest(
                "header",
                "An upload must begin with the image's header; send it in the first message.",
            )
        header = from_proto_header(first.header, "header", self._limits)
        size = payload_bytes(header)
        if size is None:
            return await images.put(owner, header, await self._file(header, parts))
        if size > self._limits.max_upload_bytes:
            raise _too_large(size, self._limits)
        async with (
            images.receiving(header, size) as upload,
            aclosing(self._chunks(header, parts, size)) as chunks,
        ):
            received = 0
            async for chunk in chunks:
                received += len(chunk)
                await upload.add(chunk)
            if received != size:
                raise InvalidRequest(
                    "chunk",
                    f"The upload ended after {received} of {size} bytes; {_described(header)} needs all of them.",
                    allowed=f"{size} bytes",
                )
            return await images.keep(owner, upload)

    async def _file(self, header: ImageHeader, parts: AsyncIterator[Part]) -> bytes:
        """The bytes of an encoded image; they are decoded before anything is stored."""
        payload = bytearray()
        async with aclosing(self._chunks(header, parts, None)) as chunks:
            async for chunk in chunks:
                payload += chunk
        if not payload:
            raise InvalidRequest(
                "chunk", "The upload has a header but no bytes; send the image's file after it."
            )
        return bytes(payload)

    async def _chunks(
        self,
        header: ImageHeader,
        parts: AsyncIterator[Part],
        exact: int | None,
    ) -> AsyncGenerator[bytes | memoryview, None]:
        """What follows the header, as long as it is within the limits."""
        most = self._limits.max_upload_bytes if exact is None else exact
        received = 0
        with self._holding() as hold:
            while (part := await self._next(parts)) is not None:
                chunk = _chunk_of(part)
                received += len(chunk)
                if received > most:
                    raise _wrong_size(header, exact, self._limits)
                hold(len(chunk))
                yield chunk

    async def _next(self, parts: AsyncIterator[Part]) -> Part | None:
        """The next piece, None at the end. Errors: InvalidRequest for an upload that has fallen asleep."""
        seconds = self._limits.max_upload_pause_seconds
        try:
            async with asyncio.timeout(seconds):
                return await anext(parts, None)
        except TimeoutError:
            raise InvalidRequest(
                "chunk",
                f"The upload brought nothing for {seconds} s (max_upload_pause_seconds) and was ended; send it again.",
                allowed=f"at most {seconds} s between two pieces",
            ) from None

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._held + size > self._limits.max_upload_bytes:
                raise LimitExceeded(
                    f"All uploads at once may have {self._limits.max_upload_bytes} bytes (max_upload_bytes) and with "
                    "this one they have more; try again when one of them is through.",
                    limit="max_upload_bytes",
                    value=str(self._limits.max_upload_bytes),
                )
            held += size
            self._held += size

        try:
            yield hold
        finally:
            self._held -= held


async def parts_of(
    header: ImageHeader, pieces: AsyncIterator[memoryview]
) -> AsyncGenerator[messages.DownloadImageResponse | Chunk, None]:
    """The header, then the bytes."""
    yield messages.DownloadImageResponse(header=to_proto_header(header))
    async for piece in pieces:
        yield Chunk(piece)


def _chunk_of(part: Part) -> bytes | memoryview:
    if part.WhichOneof("part") != "chunk":
        raise InvalidRequest(
            "chunk",
            "Only the first message of an upload has a header; send the image's bytes after it.",
        )
    if len(part.chunk) > MAX_CHUNK_BYTES:
        raise InvalidRequest(
            "chunk",
            f"A piece of the upload has {len(part.chunk)} bytes; at most {MAX_CHUNK_BYTES} are allowed.",
            allowed=f"at most {MAX_CHUNK_BYTES} bytes",
        )
    return part.chunk


def _wrong_size(header: ImageHeader, exact: int | None, limits: Limits) -> InvalidRequest:
    if exact is None:
        return _too_large(None, limits)
    return InvalidRequest(
        "chunk",
        f"The upload has more than the {exact} bytes of {_described(header)}.",
        allowed=f"{exact} bytes",
    )


def _too_large(size: int | None, limits: Limits) -> InvalidRequest:
    have = "more" if size is None else f"{size} bytes"
    return InvalidRequest(
        "header" if size is not None else "chunk",
        f"The image has {have}, but at most {limits.max_upload_bytes} bytes are allowed (max_upload_bytes); make it "
        "smaller.",
        allowed=f"at most {limits.max_upload_bytes} bytes",
    )


def _described(header: ImageHeader) -> str:
    extent = header.extent
    return f"a raw {extent.width} x {extent.height} px image with {header.channels} channels of {header.dtype}"
