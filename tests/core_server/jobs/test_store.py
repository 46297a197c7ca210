from __future__ import annotations

import sqlite3
import stat
import sys
from pathlib import Path

import msgspec
import pytest

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import CanvasIntent, CanvasPlan, FillMode, SeamlessAxes
from core_server.errors import StartupError
from core_server.jobs import schema
from core_server.jobs.job import Job, JobEvent, JobFailure, JobState
from core_server.jobs.store import Store
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ImageToImage,
    Inpaint,
    Parameters,
    Request,
    TextToImage,
    Texture,
)

PLAN = CanvasPlan(
    document=Extent(300, 200),
    selection=Bounds(10, 20, 30, 40),
    mask=Bounds(6, 16, 38, 48),
    context=Bounds(-8, 0, 128, 128),
    model=Extent(512, 512),
    grow=4,
    feather=4,
    blend=2,
    exact_selection=False,
    fill=FillMode.BLUR,
    intent=CanvasIntent.FILL,
    passes=1,
    seamless=SeamlessAxes.X,
)
PARAMETERS = Parameters(
    prompt='"ivy", naïve 🎨\n',
    negative_prompt="\\",
    num_inference_steps=3,
    guidance_scale=1.5,
    seed=2**64 - 1,
    count=4,
    seamless=SeamlessAxes.XY,
    adapters=(Adapter(kind=AdapterKind.LORA, name="moss", weight=-0.5),),
)
REQUESTS: list[Request] = [
    TextToImage(parameters=PARAMETERS, extent=Extent(1, 16384)),
    ImageToImage(parameters=PARAMETERS, image="a" * 64, strength=0.25),
    Inpaint(parameters=PARAMETERS, image="a" * 64, selection="b" * 64, plan=PLAN),
    Texture(parameters=PARAMETERS, extent=Extent(512, 512), maps=("normal",)),
]
QUEUED = JobEvent(number=1, time=1.5, state=JobState.QUEUED)


def job(number: int = 0, owner: str = "ada", request: Request = REQUESTS[0]) -> Job:
    return Job(
        job_id=f"job-{number}",
        request_id=f"wish-{number}",
        owner=owner,
        state=JobState.QUEUED,
        request=request,
        create_time=float(number),
        last_event_number=1,
    )


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_what_was_asked_comes_back_exactly(tmp_path: Path, request_: Request) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.insert(job(request=request_), QUEUED)
    store.close()
    again = Store(tmp_path / "jobs.sqlite3")
    assert again.find("job-0") == job(request=request_)
    assert again.events("job-0", 0) == [QUEUED]
    again.close()


def test_a_request_id_is_taken_once_for_each_owner(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.insert(job(), QUEUED)
    twin = msgspec.structs.replace(job(), job_id="job-twin")
    with pytest.raises(sqlite3.IntegrityError):
        store.insert(twin, QUEUED)
    assert store.find("job-twin") is None
    store.insert(msgspec.structs.replace(twin, owner="bob"), QUEUED)
    found = store.find_request("bob", "wish-0")
    assert found is not None
    assert found.job_id == "job-twin"
    store.close()


def test_pages_are_newest_first_and_complete(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    for number in range(7):
        store.insert(job(number), QUEUED)
    store.insert(job(99, owner="bob"), QUEUED)
    failure = JobFailure(reason="INTERNAL", message="Oh.", metadata={"a": "b"})
    failed = msgspec.structs.replace(
        job(3), state=JobState.FAILED, failure=failure, end_time=9.0, last_event_number=2
    )
    store.update(failed, JobEvent(number=2, time=2.0, state=JobState.FAILED, failure=failure))
    seen, before = [], None
    for _ in range(4):
        page, before = store.page("ada", (), 2, before)
        seen += [found.job_id for found in page]
    assert seen == [f"job-{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert before is None
    assert store.page("ada", [JobState.FAILED], 5, None) == ([failed], None)
    assert [left.job.job_id for left in store.unfinished()] == [
        f"job-{number}" for number in (0, 1, 2, 4, 5, 6, 99)
    ]
    store.close()


def test_deleting_a_job_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    store = Store(path)
    store.insert(job(request=REQUESTS[2]), QUEUED)
    assert store.images_of("job-0") == store.needed_images() == {"a" * 64, "b" * 64}
    store.delete("job-0")
    store.close()
    with sqlite3.connect(path) as database:
        for table in ("jobs", "inputs", "results", "events"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_database_from_the_future_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(StartupError, match="newer Scumble"):
        Store(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_can_read_the_prompts(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.insert(job(), QUEUED)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    store.close()


def test_what_is_not_synced_at_once_is_there_and_leaves_all_else_synced(tmp_path: Path) -> None:
    def full(step: str) -> None:
        if step == "update.written":
            raise OSError(28, "no room")

    def levels(store: Store) -> int:
        (level,) = store._database.execute("PRAGMA synchronous").fetchone()
        return int(level)

    path = tmp_path / "jobs.sqlite3"
    store = Store(path)
    store.insert(job(), QUEUED)
    store.grant("ada", "a" * 64)
    running = msgspec.structs.replace(job(), state=JobState.RUNNING, start_time=2.0, attempts=1)
    event = JobEvent(number=2, time=2.0, state=JobState.RUNNING)
    store.update(running, event)
    assert levels(store) == 2, "FULL again"
    copy = tmp_path / "copy.sqlite3"  # as a killed process leaves them
    for ending in ("", "-wal"):
        copy.with_name(copy.name + ending).write_bytes(
            path.with_name(path.name + ending).read_bytes()
        )
    again = Store(copy, full)
    assert again.may_see("ada", "a" * 64)
    assert [left.job.state for left in again.unfinished()] == [JobState.RUNNING]
    with pytest.raises(OSError, match="no room"):
        again.update(running, msgspec.structs.replace(event, number=3))
    assert levels(again) == 2
    for it in (store, again):
        it.close()
