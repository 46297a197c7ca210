"""What the painting commands have in common: hand in, wait, write, tell."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core_server.commands import recipe
from core_server.commands.files import Picture, read_picture
from core_server.commands.output_files import check_output, write_picture
from core_server.commands.progress import wait
from core_server.commands.session import connected
from scumble.client import Client, MaterialMap, Patch, Pixels, Priority, Request


def paint_whole(options: argparse.Namespace, request: Callable[[Pixels], Request]) -> int:
    """For commands that send all of `options.image`. request: from its pixels. Returns the exit status."""
    picture = read_picture(options.image)
    check_output(options.output, picture.pixels)
    wanted = request(picture.pixels)
    with connected(options) as client:
        paint(client, wanted, options, like=picture)
    return 0


def paint(
    client: Client,
    request: Request,
    options: argparse.Namespace,
    *,
    like: Picture | None = None,
    compose: Callable[[Patch], Pixels] = lambda patch: patch.pixels,
) -> Sequence[Patch]:
    """Runs the request, writes its pictures to `options.output` and says what was written.

    like: the picture it started from. compose: from a patch to the whole picture. Returns the patches.
    """
    start = time.monotonic()
    job = client.submit(request, priority=Priority(options.priority))
    patches = wait(job)
    written = []
    for patch, path in zip(patches, places(options.output, patches), strict=True):
        picture = compose(patch)
        write_picture(path, picture, like, recipe.entries(patch.recipe))
        written.append(_outcome(path, picture, patch))
    seconds = round(time.monotonic() - start, 3)
    if options.json:
        print(json.dumps({"job_id": job.id, "seconds": seconds, "pictures": written}))
        return patches
    for entry in written:
        print(f"{entry['file']}  {entry['width']} x {entry['height']} px  seed {entry['seed']}")
        for note in entry["recipe"].get("notes", ()):
            print(f"  note: {note}")
    return patches


def places(output: Path, patches: Sequence[Patch]) -> list[Path]:
    """Where each patch goes: pictures are numbered if there are several; a map is named after its picture."""
    is_picture = [patch.map_name in ("", MaterialMap.BASE_COLOR) for patch in patches]
    found, index = [], -1
    for patch, new in zip(patches, is_picture, strict=True):
        index += new
        path = numbered(output, max(index, 0), max(sum(is_picture), 1))
        found.append(path if new else path.with_stem(f"{path.stem}-{patch.map_name}"))
    return found


def numbered(path: Path, index: int, count: int) -> Path:
    """OUT.png for one picture; OUT-1.png, OUT-2.png ... for several."""
    return path if count == 1 else path.with_stem(f"{path.stem}-{index + 1}")


def _outcome(path: Path, picture: Pixels, patch: Patch) -> dict[str, Any]:
    return {
        "file": str(path),
        "width": picture.width,
        "height": picture.height,
        "seed": patch.seed,
        "map": patch.map_name,
        "bounds": list(patch.bounds) if patch.bounds else None,
        "recipe": patch.recipe,
    }
