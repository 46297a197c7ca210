"""Our program's end, in a Windows process: commands come as JSON lines, answers go the same way."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from photoshop_plugin.document import LayerPatch
from photoshop_plugin.host import com
from photoshop_plugin.host.photoshop import ComPhotoshop
from scumble.client import Bounds, Pixels


def describe(host: ComPhotoshop) -> dict[str, Any]:
    found = host.describe()
    return {
        "name": found.name,
        "extent": found.extent,
        "selection": found.selection,
        "layer": found.layer_name,
        "profile": found.profile,
    }


def round_trip(host: ComPhotoshop, bounds: list[int], name: str, title: str) -> dict[str, Any]:
    """Lays what it reads back inverted, masked by the selection."""
    document, box = host.describe(), Bounds(*bounds)
    capture = host.capture(document, box)
    image = capture.image
    inverted = Pixels.from_numpy(
        image.sample_type.full_scale - image.numpy(), image.color_space, image.icc_profile
    )
    patch = LayerPatch(name, inverted, capture.selection, box, capture.icc_profile)
    host.apply(document, [patch], title)
    folder = Path(host._folder.name)
    return {"folder": str(folder), "files": [file.name for file in folder.iterdir()]}


def from_threads(host: ComPhotoshop, count: int) -> list[str]:
    """Many threads ask at once."""
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(host.describe().name)) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names


def in_thread(host: ComPhotoshop, apartment: bool, foreign: bool) -> str:
    """What COM says to a thread of ours. apartment: with CoInitialize. foreign: to another thread's object."""
    outcome: list[str] = []
    with com.apartment():
        ours = com.connect()

        def use() -> None:
            try:
                runner = ours if foreign else com.connect()
                outcome.append(str(runner.doJavaScript("app.version", None, 1)))
            except Exception as error:  # noqa: BLE001 - the answer
                outcome.append(f"{type(error).__name__} {getattr(error, 'hresult', '')}".strip())

        def work() -> None:
            if apartment:
                with com.apartment():
                    use()
            else:
                use()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return outcome[0]


COMMANDS: dict[str, Any] = {
    function.__name__: function for function in (describe, round_trip, from_threads, in_thread)
}


def main(patience: float) -> None:
    """Until the input ends."""
    busy: list[int] = []
    with ComPhotoshop(patience_seconds=patience, on_busy=lambda: busy.append(1)) as host:
        for line in sys.stdin:
            command, values = json.loads(line)
            try:
                answer = COMMANDS[command](host, **values)
            except Exception as error:  # noqa: BLE001 - the answer
                answer = {"error": type(error).__name__, "text": str(error)}
            if isinstance(answer, dict):
                answer["busy"] = len(busy)
            sys.stdout.write(f"answer {json.dumps(answer)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
