"""Fetches one file: goes on where it stopped, counts, and compares the hash before anything believes the content."""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlparse
from urllib.request import url2pathname

from core_server.errors import LimitExceeded, ModelLoadFailed
from core_server.pipelines.sources.disk import Disk
from core_server.pipelines.sources.hub import Hub, hub_errors
from core_server.pipelines.sources.offer import OfferedFile

_CHUNK = 1024 * 1024
_TIMEOUT_SECONDS = 30.0
_TRIES, _PAUSE_SECONDS = 3, 1.0
Count = Callable[[int], None]
"""Called with bytes that have come, or that were lost when it is negative; raises to stop."""


def fetch(
    file: OfferedFile, part: Path, target: Path, *, hub: Hub, disk: Disk, count: Count
) -> None:
    """Brings `file` to `target` by way of `part`, which stays where it is when anything goes wrong.

    Errors: SourceNotFound, Unavailable, ModelLoadFailed for a wrong hash (the part is deleted then), LimitExceeded for
    a full disk, and what `count` raises.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with disk.open_part(part) as stream:
            there = stream.seek(0, 2)
            if file.size and there > file.size:
                stream.truncate(0)
                there = stream.seek(0)
            count(there)
            if not file.size or there < file.size:
                if file.url.startswith("file:"):
                    _copy(Path(url2pathname(urlparse(file.url).path)), stream, there, count)
                else:
                    _download(file, stream, there, hub, count)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LimitExceeded(
                f"The disk became full while {file.path} was written; free some space and run the same command again, "
                "it goes on where it stopped."
            ) from error
        raise
    verify(file, part)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def verify(file: OfferedFile, path: Path) -> None:
    """Compares size and hash with what the source announced; deletes what is wrong. Errors: ModelLoadFailed."""
    size = path.stat().st_size
    wrong = ""
    if file.size and size != file.size:
        wrong = f"{size} bytes instead of {file.size}"
    elif file.sha256 and sha256_of(path) != file.sha256:
        wrong = "another SHA-256 than its source announces"
    elif file.git_sha1 and _git_sha1(path) != file.git_sha1:
        wrong = "another hash than its source announces"
    if wrong:
        path.unlink()
        raise ModelLoadFailed(
            f"{file.path} came with {wrong}: it was damaged or changed on its way and has been deleted; run the same "
            "command again, and do not use the source if this happens twice."
        )


def sha256_of(path: Path) -> str:
    """In hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git_sha1(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _download(file: OfferedFile, stream: BinaryIO, there: int, hub: Hub, count: Count) -> None:
    """Appends what is missing. A connection that breaks is tried again as long as bytes keep coming."""
    import httpx2  # noqa: PLC0415  only when asked to

    # The token is for the hub alone.
    ours = file.url.startswith(hub.address() + "/")
    headers = hub.headers() if ours else {"user-agent": "scumble"}
    with hub_errors(file.path, stream.tell):
        tries = 0
        while True:
            before = there
            try:
                for data in _bytes(file.url, headers, there, file.size):
                    if data is None:
                        # The server does not continue: it sends everything again.
                        stream.seek(0)
                        stream.truncate()
                        count(-there)
                        there = 0
                        continue
                    stream.write(data)
                    there += len(data)
                    count(len(data))
                return
            except httpx2.TransportError:
                tries = tries + 1 if there == before else 1
                if tries > _TRIES:
                    raise
                time.sleep(_PAUSE_SECONDS)


def _bytes(url: str, headers: Mapping[str, str], there: int, size: int) -> Iterator[bytes | None]:
    """The bytes from `there` on; None first where the server starts from the beginning instead."""
    from huggingface_hub import get_session, hf_raise_for_status  # noqa: PLC0415

    # Packed answers could not be continued in the middle.
    asked = {**headers, "accept-encoding": "identity"}
    if there:
        asked["range"] = f"bytes={there}-"
    with get_session().stream(
        "GET", url, headers=asked, follow_redirects=True, timeout=_TIMEOUT_SECONDS
    ) as response:
        hf_raise_for_status(response)
        if there and response.status_code != 206:
            yield None
            there = 0
        for data in response.iter_raw(_CHUNK):
            there += len(data)
            if size and there > size:
                raise ModelLoadFailed(
                    "The source sends more than it announced; nothing of it is installed. Try another source."
                )
            yield data


def _copy(source: Path, stream: BinaryIO, there: int, count: Count) -> None:
    with source.open("rb") as original:
        original.seek(there)
        while data := original.read(_CHUNK):
            stream.write(data)
            count(len(data))
