"""Start one training process a GPU:

    python -m core_server.training.launch 2 --out OUT --resume ...

Everything after the count goes to core_server.training.train_default_model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

_ADDRESS, _PORT = "127.0.0.1", "29511"
_MODULE = "core_server.training.train_default_model"


def environment(rank: int, count: int) -> dict[str, str]:
    """What process `rank` of `count` is told, as torch.distributed reads it.

    Each sees its own GPU only, as device 0: code compiled for device 0 then serves all of them
    from one cache. The variable must be set before CUDA starts, so before Python does.
    """
    return {
        "CUDA_VISIBLE_DEVICES": str(rank),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": _ADDRESS,
        "MASTER_PORT": _PORT,
    }


def run_team(command: Sequence[str], count: int) -> int:
    """Run `command` `count` times at once; when one fails, stop the rest. Returns an exit status."""
    team = [
        subprocess.Popen(list(command), env={**os.environ, **environment(rank, count)})
        for rank in range(count)
    ]
    while True:
        states = [process.poll() for process in team]
        failed = [state for state in states if state]
        if failed or all(state == 0 for state in states):
            break
        time.sleep(0.2)
    for process in team:
        if process.poll() is None:
            process.terminate()
    for process in team:
        process.wait()
    return abs(failed[0]) if failed else 0


if __name__ == "__main__":
    sys.exit(run_team([sys.executable, "-m", _MODULE, *sys.argv[2:]], int(sys.argv[1])))
