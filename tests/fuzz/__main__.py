"""The long run: `python -m tests.fuzz` makes 20,000 calls over the wire and 20,000 cases inside; 1 on a break."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.inside import fuzz_decoders, fuzz_planner
from tests.fuzz.wire import fuzz_wire

MOST_GROWTH = 0.03
"""Of the gateway's memory after the first quarter of the calls."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=10_000, help="for decoders and planner each")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    print(f"decoders: {dict(fuzz_decoders(options.cases, options.seed))}", flush=True)
    print(f"planner: {dict(fuzz_planner(options.cases, options.seed))}", flush=True)
    report = fuzz_wire(Path(tempfile.mkdtemp(prefix="scumble-fuzz-")), options.calls, options.seed)
    if report.growth > MOST_GROWTH:
        report.broken.append(f"memory grew by {report.growth:.1%}")
    print(report)
    sys.exit(bool(report.broken))
