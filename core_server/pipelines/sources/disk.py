"""The disk that models are written to; an own interface, so that a full one can be met in tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO, Protocol

RESERVE_BYTES = 512 * 1024 * 1024
"""Left free on the disk: results and the system need some too."""


class Disk(Protocol):
    """What an installation needs of a disk."""

    def free_bytes(self, folder: Path) -> int:
        """Free bytes where `folder` is."""

    def open_part(self, path: Path) -> BinaryIO:
        """A partial file, to be read and added to at its end."""


class RealDisk:
    """The disk."""

    def free_bytes(self, folder: Path) -> int:
        """Free bytes where `folder` is."""
        return shutil.disk_usage(folder).free

    def open_part(self, path: Path) -> BinaryIO:
        """A partial file, to be read and added to at its end."""
        stream = path.open("r+b" if path.exists() else "w+b")
        stream.seek(0, 2)
        return stream
