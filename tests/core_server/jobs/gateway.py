"""A stand-in for the gateway's process: `python -m tests.core_server.jobs.gateway DATA_DIR PROMPT...`.

Accepts a job for each prompt, prints their ids, then the worker's process id at every step, until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from core_server.config import Limits
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from tests.core_server.jobs.conftest import config, text_to_image


async def main(data_dir: Path, prompts: list[str]) -> None:
    engine = LocalEngine(config(data_dir))
    service = JobService(data_dir, engine, Limits())
    await service.start()
    jobs = [
        await service.create("ada", str(number), text_to_image(prompt))
        for number, prompt in enumerate(prompts)
    ]
    print(*(job.job_id for job in jobs), flush=True)
    while True:
        busy, _ = await service.list("ada", (), 1000, "")
        for job in reversed(busy):
            if not job.state.is_final:
                async for event in service.watch("ada", job.job_id, 0):
                    print(event.number, engine.worker_pid or 0, flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
