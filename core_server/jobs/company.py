"""Who is painted at once with the job whose turn it is.

Nobody waits for company: only jobs that wait anyway join, and only such as are alike. What keeps it fair:

- A pass has at most `Batching.max_pixels`, so that nobody waits longer for one than for a single picture of that size.
- An interactive job shares with one other interactive job at most, and while another one waits nobody else has company.
- Whoever waits is overtaken by the companions of at most `MOST_PASSES` passes; an interactive job by none.
- A job under which a worker has died is painted alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from core_server.config import Batching
from core_server.jobs.job import Job, Priority
from core_server.jobs.ledger import LiveJob
from core_server.pipelines.request import TextToImage, batch_key

INTERACTIVE_PICTURES = 2
"""Two at once take half as long again as one (Stable Diffusion 1.5 at 512 px): less than one after the other."""
MOST_PASSES = 1
"""In which jobs behind a waiting one join before it."""
LOOK_AHEAD = 64
"""Waiting jobs among which company is looked for."""


def pictures_at_once(job: Job, batching: Batching, together: Sequence[str], default: str) -> int:
    """Pictures of this job's kind that may be painted at once; 1 for what is painted alone.

    together, default: as `RuntimeInfo` tells them.
    """
    request = job.request
    if batch_key(request) is None or (request.parameters.model or default) not in together:
        return 1
    assert isinstance(request, TextToImage)
    return max(min(batching.pictures, batching.max_pixels // max(request.extent.area, 1)), 1)


def company_of(first: LiveJob, waiting: Sequence[LiveJob], pictures: int) -> list[LiveJob]:
    """Those of `waiting`, in the order of their turns, that are painted with `first`. pictures: as above.

    Notes for those that they overtake that they have been overtaken.
    """
    key, is_urgent = batch_key(first.job.request), _is_urgent(first)
    if is_urgent:
        pictures = min(pictures, INTERACTIVE_PICTURES)
    elif any(_is_urgent(live) for live in waiting):
        return []
    room = pictures - first.job.request.parameters.count
    if key is None or first.crashes:
        return []
    chosen: list[LiveJob] = []
    passed_by: list[LiveJob] = []
    for live in waiting:
        if room < 1:
            break
        count = live.job.request.parameters.count
        alike = batch_key(live.job.request) == key and _is_urgent(live) == is_urgent
        if alike and not live.crashes and count <= room:
            for other in passed_by:
                other.times_passed += 1
            passed_by.clear()
            chosen.append(live)
            room -= count
        elif _is_urgent(live) or live.times_passed >= MOST_PASSES:
            break
        else:
            passed_by.append(live)
    return chosen


def _is_urgent(live: LiveJob) -> bool:
    return live.job.priority is Priority.INTERACTIVE
