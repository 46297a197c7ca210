"""Images in pieces of about 1 MiB, so that no message limit is raised for a large picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from core_server.config import MIB, Limits
from core_server.errors import InvalidRequest, LimitExceeded
from core_server.jobs.job import ImageHeader
from core_server.rpc.convert.image import from_proto_header, payload_bytes, to_proto_header
from scumble.v1 import generation_service_pb2 as messages

CHUNK_BYTES = MIB
MAX_CHUNK_BYTES = 2 * MIB


class Uploads:
    """Receives images; all uploads together hold no more memory than the largest single one may."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def receive(
        self, parts: AsyncIterator[messages.UploadImageRequest]
    ) -> tuple[ImageHeader, bytes]:
        """The header and all bytes. Errors: InvalidRequest, LimitExceeded, both at the first piece that is wrong."""
        first = await self._next(parts)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidRequest(
                "header",
                "An upload must begin with the image's header; send it in the first message.",
            )
        header = from_proto_header(first.header, "header", self._limits)
        exact = payload_bytes(header)
        most = self._limits.max_upload_bytes if exact is None else exact
        if most > self._limits.max_upload_bytes:
            raise _too_large(most, self._limits)
        with self._holding() as hold:
            payload = bytearray()
            while (part := await self._next(parts)) is not None:
                chunk = _chunk_of(part)
                if len(payload) + len(chunk) > most:
                    raise _wrong_size(header, exact, self._limits)
                hold(len(chunk))
                payload += chunk
            if exact is not None and len(payload) != exact:
                raise InvalidRequest(
                    "chunk",
                    f"The upload ended after {len(payload)} of {exact} bytes; "
                    f"{_described(header)} needs all of them.",
                    allowed=f"{exact} bytes",
                )
            if not payload:
                raise InvalidRequest(
                    "chunk", "The upload has a header but no bytes; send the image's file after it."
                )
            return header, bytes(payload)

    async def _next(
        self, parts: AsyncIterator[messages.UploadImageRequest]
    ) -> messages.UploadImageRequest | None:
        """The next piece, None at the end. Errors: InvalidRequest for an upload that has fallen asleep."""
        seconds = self._limits.max_upload_pause_seconds
        try:
            return await asyncio.wait_for(anext(parts, None), seconds)
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


def pieces(header: ImageHeader, payload: bytes) -> Iterator[messages.DownloadImageResponse]:
    """The header, then the bytes."""
    yield messages.DownloadImageResponse(header=to_proto_header(header))
    view = memoryview(payload)
    for start in range(0, len(view), CHUNK_BYTES):
        yield messages.DownloadImageResponse(chunk=bytes(view[start : start + CHUNK_BYTES]))


def _chunk_of(part: messages.UploadImageRequest) -> bytes:
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
