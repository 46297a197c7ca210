from __future__ import annotations

from core_server.jobs.eta import StepClock


def test_the_first_step_is_not_counted() -> None:
    clock = StepClock()
    assert clock.remaining(1, 10, now=60.0) is None
    assert clock.remaining(2, 10, now=61.0) == 8.0
    assert clock.remaining(10, 10, now=69.0) == 0.0


def test_skipped_and_repeated_steps() -> None:
    clock = StepClock()
    clock.remaining(1, 9, now=0.0)
    assert clock.remaining(5, 9, now=8.0) == 8.0
    assert clock.remaining(5, 9, now=9.0) == 8.0


def test_it_follows_a_change_of_pace() -> None:
    clock = StepClock()
    for step in range(1, 50):
        clock.remaining(step, 100, now=float(step))
    slow = [clock.remaining(49 + k, 100, now=49.0 + 3 * k) for k in range(1, 30)]
    assert slow[-1] is not None
    assert abs(slow[-1] / (100 - 78) - 3.0) < 0.1
