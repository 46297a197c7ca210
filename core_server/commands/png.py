"""PNG as a list of chunks: is the file whole, and which texts does it carry (PNG specification, 3rd edition, 2025)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 4 * 1024 * 1024
"""What a compressed entry may swell to."""


class DamagedPng(ValueError):
    """Not a whole PNG; the message says where it breaks off."""


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and content of every chunk, to IEND. Raises DamagedPng for a file that is cut off or altered."""
    if not data.startswith(SIGNATURE):
        raise DamagedPng("it does not begin as a PNG file does")
    view, position = memoryview(data), len(SIGNATURE)
    while True:
        head = view[position : position + 8]
        length, kind = int.from_bytes(head[:4], "big"), bytes(head[4:])
        end = position + 8 + length
        if len(head) < 8 or end + 4 > len(data):
            raise DamagedPng(f"it is cut off after {len(data)} bytes")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise DamagedPng(f"its {kind.decode('latin-1')} chunk is damaged")
        yield kind, view[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4


def has_profile(path: Path) -> bool:
    """Whether a file is a PNG with an iCCP chunk, readable or not."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return False
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"iCCP", b"IDAT"):  # a profile comes before the pixels
                return kind == b"iCCP"
            file.seek(length + 4, 1)
    return False


def texts(data: bytes) -> dict[str, str]:
    """The iTXt and tEXt entries by key. Raises DamagedPng."""
    found: dict[str, str] = {}
    for kind, content in chunks(data):
        if kind not in (b"iTXt", b"tEXt"):
            continue
        key, _, rest = bytes(content).partition(b"\0")
        if kind == b"tEXt":
            found[key.decode("latin-1")] = rest.decode("latin-1")
            continue
        compressed, rest = rest[:1] == b"\1", rest[2:]
        _language, _, rest = rest.partition(b"\0")
        _translated, _, text = rest.partition(b"\0")
        try:
            if compressed:
                text = zlib.decompressobj().decompress(text, MAX_TEXT_BYTES)
            found[key.decode("latin-1")] = text.decode()
        except (zlib.error, UnicodeDecodeError):
            continue  # somebody else's entry; ours are read back as they were written
    return found


def with_texts(data: bytes, entries: Mapping[str, str]) -> bytes:
    """The same file with these iTXt entries right after its header; other entries stay unless they share a key."""
    parts = [SIGNATURE]
    for kind, content in chunks(data):
        if kind in (b"iTXt", b"tEXt", b"zTXt"):
            key = bytes(content).partition(b"\0")[0].decode("latin-1")
            if key in entries:
                continue
        parts.append(_chunk(kind, content))
        if kind == b"IHDR":
            parts += [_chunk(b"iTXt", _international(key, text)) for key, text in entries.items()]
    return b"".join(parts)


def _international(key: str, text: str) -> bytes:
    """Content of an uncompressed iTXt chunk without language and translated keyword."""
    return key.encode("latin-1") + b"\0\0\0\0\0" + text.encode()


def _chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((len(content).to_bytes(4, "big"), kind, content, checksum.to_bytes(4, "big")))
