"""Which suites there are. Free of everything heavy: the command's help reads this."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core_server.benchmarks.report import Report
    from core_server.benchmarks.setting import Setting

#: name -> (module, the model it is for, what it measures)
SUITES: dict[str, tuple[str, str, str]] = {
    "server": ("server", "tiny", "what the server costs beside the same call in-process"),
    "start": ("start", "default", "from the start of a server to pictures"),
    "memory": ("memory", "default", "most memory of gateway and worker"),
    "images": ("images", "sd15,sdxl", "seconds a picture of models of full size, on a GPU"),
    "processor": ("processor", "default", "the embedded model on a CPU beside stock diffusers"),
    "canvas": ("canvas", "tiny", "planning, and a small selection in a large document"),
    "tiles": ("tiles", "default", "seams of every seamless task, and edges of patches"),
    "live": ("live", "default", "pictures a second and latency while painting live"),
    "default-model": (
        "default_model",
        "default",
        "whether the embedded model paints what was asked",
    ),
}


def run_suite(name: str, setting: Setting) -> Report:
    """Runs one suite. Raises CannotMeasure."""
    module = importlib.import_module(f"core_server.benchmarks.{SUITES[name][0]}")
    report: Report = module.run(setting)
    return report
