"""The long run: `python -m tests.crash --rounds 200`. Prints what happened; ends with 1 at the first broken promise."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.harness import Broken, Report, run_rounds

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="round to begin with, to repeat one")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="scumble-crash-"))
    report = Report()
    try:
        run_rounds(folder, options.rounds, options.seed, options.first, report)
    except Broken as broken:
        sys.exit(f"{report}\nBROKEN: {broken}")
    except KeyboardInterrupt:
        print("ended early")
    print(report)
    shutil.rmtree(folder)
