"""The long runs: `python -m tests.soak`, `--mix` and `--load`. They print figures and end with 1 on a broken promise.

Soak: jobs one after the other on a real server and model, while clients drop and come back at random. Memory, handles
and threads of gateway and worker at the end against those after the first tenth.
Mix: jobs over several models, LoRAs, control and reference images, tiles and sizes; the first of each model, painted
again at the end, must be the same bit for bit.
Load: many clients at once, each submitting and watching; how long CreateJob and the delivery of an event take.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.load import run_load
from tests.soak.mix import run_mix
from tests.soak.soak import run_soak

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", action="store_true", help="the load run instead of the soak")
    parser.add_argument("--mix", action="store_true", help="the mix of models and adapters")
    parser.add_argument(
        "--jobs", type=int, help="soak: in all (1000); mix: in all (200); load: of each client (10)"
    )
    parser.add_argument("--clients", type=int, default=64, help="of the load run")
    parser.add_argument("--model", default="default", help="of the soak; tiny is quicker")
    parser.add_argument("--size", type=int, default=64, help="px a side, in the soak")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scumble-soak-"))
    if options.load:
        print(report := run_load(folder, options.clients, options.jobs or 10))
    elif options.mix:
        print(report := run_mix(folder, options.jobs or 200, options.seed))
    else:
        print(
            report := run_soak(
                folder, options.jobs or 1000, options.model, options.size, options.seed
            )
        )
    sys.exit(bool(report.broken))
