"""Who is painted with whom, and that nobody pays more for it than is promised."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from core_server.canvas.geometry import Extent
from core_server.config import Batching
from core_server.jobs.company import INTERACTIVE_PICTURES, MOST_PASSES, company_of, pictures_at_once
from core_server.jobs.feed import Feed
from core_server.jobs.job import Job, JobState, Priority
from core_server.jobs.ledger import LiveJob
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    ImageToImage,
    Parameters,
    Request,
    TextToImage,
)

NUMBERS = itertools.count()
SMALL = Extent(512, 512)


def asked(extent: Extent = SMALL, **changes: object) -> TextToImage:
    parameters = Parameters(prompt=f"prompt {next(NUMBERS)}", seed=next(NUMBERS))
    return TextToImage(parameters=msgspec.structs.replace(parameters, **changes), extent=extent)


def live(
    request: Request | None = None, priority: Priority = Priority.NORMAL, **changes: object
) -> LiveJob:
    job = Job(
        job_id=str(next(NUMBERS)), request_id="", owner="ada", state=JobState.QUEUED,
        request=request or asked(**changes), create_time=0.0, priority=priority,
    )  # fmt: skip
    return LiveJob(job, Feed())


def urgent(**changes: object) -> LiveJob:
    return live(priority=Priority.INTERACTIVE, **changes)


def test_those_that_are_next_and_alike_join_in_their_order() -> None:
    same = [live() for _ in range(5)]
    assert company_of(live(), same, 4) == same[:3]
    assert company_of(live(), same, 1) == []
    assert company_of(live(priority=Priority.BATCH), same, 2) == same[:1]


@pytest.mark.parametrize(
    "other",
    [
        asked(Extent(512, 768)),
        asked(model="other"),
        asked(num_inference_steps=8),
        asked(guidance_scale=3.0),
        asked(scheduler="ddim"),
        asked(adapters=(Adapter(kind=AdapterKind.LORA, name="ink"),)),
        asked(guidance_end=0.5),
        ImageToImage(parameters=Parameters(prompt="moss"), image="id"),
    ],
    ids=["size", "model", "steps", "guidance", "scheduler", "LoRA", "shortcut", "task"],
)
def test_what_is_not_alike_never_mixes(other: Request) -> None:
    assert company_of(live(), [live(other)], 4) == []
    assert company_of(live(other), [live()], 4) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"control_images": (ControlImage(kind=ControlKind.DEPTH, image="id"),)},
        {"adapters": (Adapter(kind=AdapterKind.TEXTUAL_INVERSION, name="word"),)},
        {"block_cache": 0.1},
    ],
    ids=["control", "textual inversion", "block cache"],
)
def test_what_acts_on_a_whole_call_is_painted_alone_even_among_its_like(
    changes: dict[str, object],
) -> None:
    assert company_of(live(asked(**changes)), [live(asked(**changes))], 4) == []


def test_variations_take_as_much_room_as_they_are() -> None:
    pair, trio, one = live(count=2), live(count=3), live()
    assert company_of(live(), [trio, pair, one], 4) == [trio]
    assert company_of(live(count=2), [trio, pair, one], 4) == [pair]
    assert company_of(live(count=9), [one], 4) == []


def test_nobody_has_company_while_an_interactive_job_waits() -> None:
    assert company_of(live(), [live(), live(), urgent()], 4) == []
    assert company_of(live(), [live(), urgent(scheduler="ddim")], 4) == []


def test_an_interactive_job_leads_and_shares_with_one_of_its_kind() -> None:
    others = [urgent() for _ in range(3)]
    assert company_of(urgent(), others, 8) == others[: INTERACTIVE_PICTURES - 1]
    assert company_of(urgent(), [live(), live()], 8) == []
    other = urgent(scheduler="ddim")
    assert company_of(urgent(), [other, *others], 8) == [], "an interactive one is not overtaken"


def test_under_whom_a_worker_died_is_alone() -> None:
    died = live()
    died.crashes = 1
    fine = live()
    assert company_of(live(), [died, fine], 4) == [fine]
    assert company_of(died, [fine], 4) == []


def test_who_waits_is_overtaken_by_a_few_and_then_by_none() -> None:
    """However many come that have company behind it."""
    waits = live(scheduler="ddim")
    joined = 0
    for _ in range(20):
        company = company_of(live(), [waits, *(live() for _ in range(8))], 4)
        joined += len(company)
    assert joined == 3 * MOST_PASSES
    assert company_of(live(), [live(), waits, live()], 4)[1:] == []


@pytest.mark.parametrize(
    ("extent", "batching", "expected"),
    [
        (SMALL, Batching(), 1),
        (SMALL, Batching(pictures=0), 1),
        (SMALL, Batching(pictures=4), 4),
        (SMALL, Batching(pictures=8), 4),
        (Extent(768, 768), Batching(pictures=4), 1),
        (Extent(1024, 1024), Batching(pictures=4), 1),
        (Extent(1024, 1024), Batching(pictures=4, max_pixels=2**21), 2),
        (Extent(4096, 4096), Batching(pictures=4), 1),
    ],
)
def test_a_pass_has_no_more_pixels_than_allowed(
    extent: Extent, batching: Batching, expected: int
) -> None:
    job = live(extent=extent).job
    assert pictures_at_once(job, batching, ("tiny",), "tiny") == expected
    assert pictures_at_once(job, batching, ("other",), "tiny") == 1
    assert (
        pictures_at_once(live(extent=extent, model="other").job, batching, ("other",), "tiny")
        == expected
    )
