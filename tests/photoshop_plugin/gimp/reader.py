"""Runs GIMP on a PSD."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from photoshop_plugin.host.tiff import srgb_to_linear
from scumble.client import Bounds
from tests.fakes.photoshop.samples import Array

SCRIPT = Path(__file__).parent / "read_psd.scm"


@dataclass(frozen=True)
class GimpLayer:
    """A layer or group as GIMP shows it, top first. depth: of the groups around it. pixels: (height, width, 3) without
    its mask, in the document's depth; mask: (height, width), float 0..1, or None."""

    depth: int
    name: str
    bounds: Bounds
    visible: bool
    is_group: bool
    pixels: Array | None
    mask: Array | None


def read_psd(path: Path, folder: Path) -> tuple[tuple[int, int, float], list[GimpLayer]]:
    """(width, height, ppi) and the layers. folder: empty, for what GIMP writes. Skips the test without GIMP 2.10."""
    gimp = shutil.which("gimp-console-2.10") or shutil.which("gimp-console")
    if gimp is None:
        pytest.skip("GIMP is not installed: apt-get install --no-install-recommends gimp")
    script = f'(begin (load "{SCRIPT}") (read-psd "{path}" "{folder}"))'
    command = [gimp, "-i", "-d", "-f", "-b", script, "-b", "(gimp-quit 0)"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    facts = folder / "facts"
    assert facts.is_file(), done.stdout + done.stderr
    head, *lines = facts.read_text(encoding="utf-8").splitlines()
    width, height, resolution = head.split()
    return (int(width), int(height), float(resolution)), [_layer(line, folder) for line in lines]


def _layer(line: str, folder: Path) -> GimpLayer:
    *numbers, name = line.split(" ", 9)
    depth, group, visible, x, y, width, height, masked, number = map(int, numbers)
    pixels = None if group else _png(folder / f"{number}-pixels.png")[..., 2::-1]
    mask = _png(folder / f"{number}-mask.png") if masked else None
    if mask is not None:
        gray = mask if mask.ndim == 2 else mask[..., 0]
        mask = srgb_to_linear(gray / 65535)
    return GimpLayer(
        depth, name, Bounds(x, y, width, height), bool(visible), bool(group), pixels, mask
    )


def _png(path: Path) -> Array:
    samples = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert samples is not None
    return samples
