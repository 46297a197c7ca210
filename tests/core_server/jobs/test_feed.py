from __future__ import annotations

import asyncio

import pytest

from core_server.errors import Unavailable
from core_server.jobs.feed import Feed
from core_server.jobs.job import JobEvent, JobProgress, JobState


def state(feed: Feed, entered: JobState) -> JobEvent:
    event = JobEvent(number=feed.next_number(), time=0, state=entered)
    feed.publish(event)
    return event


def progress(feed: Feed, step: int = 1) -> JobEvent:
    told = JobProgress(step=step, steps=9999, stage="Painting")
    event = JobEvent(number=feed.next_number(), time=0, progress=told)
    feed.publish(event)
    return event


def preview(feed: Feed, shade: int) -> JobEvent:
    event = JobEvent(number=feed.next_number(), time=0, preview=bytes([shade]))
    feed.publish(event)
    return event


async def seen(feed: Feed, after: int = 0) -> list[JobEvent]:
    return [event async for event in feed.watch(after)]


async def test_a_watcher_resumes_after_the_number_it_knows() -> None:
    feed = Feed()
    events = [state(feed, JobState.QUEUED), state(feed, JobState.RUNNING), progress(feed)]
    watching = [asyncio.create_task(seen(feed, after)) for after in range(5)]
    await asyncio.sleep(0)
    events += [progress(feed), state(feed, JobState.SUCCEEDED)]
    for after, watch in enumerate(watching):
        assert await watch == events[after:]
    assert await seen(feed, 99) == []


async def test_nothing_follows_the_final_state() -> None:
    feed = Feed()
    final = state(feed, JobState.CANCELLED)
    progress(feed)
    state(feed, JobState.FAILED)
    assert await seen(feed) == [final]


async def test_nobody_misses_a_state_that_is_being_written() -> None:
    feed = Feed()
    queued = state(feed, JobState.QUEUED)
    early = feed.watch(queued.number)
    with feed.pending() as number:
        meanwhile = progress(feed)
        joined = feed.watch(feed.last_number)
        waiting = [asyncio.create_task(anext(watch)) for watch in (early, joined)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        running = JobEvent(number=number, time=0, state=JobState.RUNNING)
        feed.publish(running)
    assert [await task for task in waiting] == [running, running]
    assert await anext(early) == meanwhile
    with pytest.raises(OSError, match="disk is full"), feed.pending():
        lost = progress(feed)
        raise OSError("the disk is full")
    assert await anext(early) == lost
    with feed.pending() as number:
        progress(feed)
        final = JobEvent(number=number, time=0, state=JobState.SUCCEEDED)
        feed.publish(final)
    assert [event async for event in early] == [final]


async def test_a_slow_watcher_misses_no_state_and_memory_stays_bounded() -> None:
    feed = Feed()
    states = [state(feed, JobState.QUEUED), state(feed, JobState.RUNNING)]
    watch = feed.watch(0)
    assert await anext(watch) == states[0]
    for step in range(5000):
        progress(feed, step)
        newest = preview(feed, step % 256)
    states += [state(feed, JobState.QUEUED), state(feed, JobState.RUNNING)]
    states.append(state(feed, JobState.SUCCEEDED))
    rest = [event async for event in watch]
    assert [event for event in rest if event.state] == states[1:]
    kept = [event.progress.step for event in rest if event.progress]
    assert kept == list(range(5000 - len(kept), 5000))
    assert len(kept) < 500
    pictures = [event for event in rest if event.preview]
    assert pictures[-1] == newest
    assert len(pictures) < 10, "each may have 192 KiB"
    numbers = [event.number for event in rest]
    assert numbers == sorted(numbers)


async def test_only_the_newest_queue_position_is_kept() -> None:
    feed = Feed()
    queued = state(feed, JobState.QUEUED)
    for position in (3, 2, 1):
        moved = JobEvent(
            number=feed.next_number(), time=0, state=JobState.QUEUED, queue_position=position
        )
        feed.publish_position(moved)
    watch = feed.watch(0)
    assert [await anext(watch), await anext(watch)] == [queued, moved]
    running = state(feed, JobState.RUNNING)
    assert await anext(watch) == running


async def test_numbers_go_on_above_those_that_an_earlier_run_may_have_used() -> None:
    before = Feed()
    events = [state(before, JobState.QUEUED), state(before, JobState.RUNNING)]
    lost = [progress(before) for _ in range(1000)]
    after = Feed.resumed(events)
    again = state(after, JobState.QUEUED)
    assert again.number > lost[-1].number
    assert await anext(after.watch(lost[-1].number)) == again
    assert Feed.resumed([*events, again]).next_number() > again.number + 1000


async def test_watchers_hear_that_the_server_stops() -> None:
    feed = Feed()
    queued = state(feed, JobState.QUEUED)
    watch = feed.watch(0)
    assert await anext(watch) == queued
    feed.interrupt(Unavailable("stopping"))
    with pytest.raises(Unavailable):
        await anext(watch)
