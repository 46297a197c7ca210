"""Models of full size for the suites that need some, made where they are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core_server.benchmarks.image_cases import CASES
from core_server.benchmarks.setting import CannotMeasure, Setting


def need_model(name: str, data_dir: Path, setting: Setting) -> None:
    """Puts the case's model into the server's data folder, small where the run is quick. Errors: CannotMeasure."""
    if name not in CASES:
        raise CannotMeasure(f"There is no case {name!r}; there are {', '.join(CASES)}.")
    folder = data_dir / "models" / name
    if (folder / "profile.json").exists():
        return
    device = "cuda" if setting.device == "auto" else setting.device
    command = [sys.executable, "-m", "core_server.benchmarks.random_models"]
    command += [name, str(folder), device, *(["--small"] if setting.quick else [])]
    outcome = subprocess.run(command, check=False, capture_output=True, text=True)
    if outcome.returncode:
        raise CannotMeasure(f"The model {name} could not be made: {outcome.stderr[-300:]}")
