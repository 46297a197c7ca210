"""Whose turn it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_server.canvas.geometry import Extent
from core_server.jobs.fair_queue import FairQueue, cost_of
from core_server.jobs.job import Priority
from core_server.pipelines.request import Parameters, TextToImage

INTERACTIVE, NORMAL, BATCH = Priority.INTERACTIVE, Priority.NORMAL, Priority.BATCH


def add(
    queue: FairQueue[str],
    item: str,
    *,
    client: str = "",
    priority: Priority = NORMAL,
    cost: float = 1,
) -> None:
    """The owner is the item's first letter."""
    queue.add(item, owner=item[0], client=client, priority=priority, cost=cost)


def served(queue: FairQueue[str]) -> list[str]:
    order = []
    while (item := queue.first) is not None:
        queue.take(item)
        order.append(item)
    return order


def test_one_owner_is_served_in_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(5):
        add(queue, f"a{n}")
    assert served(queue) == ["a0", "a1", "a2", "a3", "a4"]


def test_a_batch_of_a_hundred_does_not_starve_a_neighbour() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(100):
        add(queue, f"a{n}")
    for _ in range(3):  # it has been at it for a while
        queue.take(queue.first or "")
    add(queue, "b0")
    assert served(queue)[:2] == ["b0", "a3"]


def test_two_batches_share_by_cost_and_not_by_number() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(40):
        add(queue, f"a{n}", cost=1)
    for n in range(40):
        add(queue, f"b{n}", cost=4)
    early = Counter(item[0] for item in served(queue)[:25])
    assert early == {"a": 20, "b": 5}


def test_clients_of_one_owner_take_turns_too() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(10):
        add(queue, f"a-blender-{n}", client="blender")
    add(queue, "a-photoshop", client="photoshop")
    assert served(queue).index("a-photoshop") <= 1


def test_many_client_names_buy_nothing_from_other_owners() -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(20):
        add(queue, f"a{n}", client=f"name-{n}")
    for n in range(3):
        add(queue, f"b{n}")
    assert {"b0", "b1", "b2"} <= set(served(queue)[:6])


def test_priority_counts_within_an_owner_alone() -> None:
    queue: FairQueue[str] = FairQueue()
    add(queue, "a-batch", priority=BATCH)
    add(queue, "a-normal", client="other")
    add(queue, "b-normal")
    add(queue, "a-now", priority=INTERACTIVE, client="third")
    order = served(queue)
    assert [item for item in order if item[0] == "a"] == ["a-now", "a-normal", "a-batch"]
    assert order.index("b-normal") <= 1


def test_waiting_away_saves_nothing_up() -> None:
    queue: FairQueue[str] = FairQueue()
    add(queue, "b-early")
    queue.take("b-early")
    for n in range(50):
        add(queue, f"a{n}")
        queue.take(f"a{n}")
    for n in range(4):
        add(queue, f"a-late{n}")
        add(queue, f"b-late{n}")
    order = served(queue)
    assert Counter(item[0] for item in order[:4]) == {"a": 2, "b": 2}


def test_a_job_that_is_tried_again_keeps_its_turn() -> None:
    queue: FairQueue[str] = FairQueue()
    add(queue, "a0")
    queue.take("a0")
    add(queue, "b0")
    queue.add_again("a0")
    assert served(queue) == ["a0", "b0"]


def test_cost_grows_with_what_takes_time() -> None:
    def cost(side: int, steps: int | None, count: int) -> float:
        parameters = Parameters(num_inference_steps=steps, count=count)
        return cost_of(TextToImage(parameters=parameters, extent=Extent(side, side)))

    assert cost(64, 4, 1) * 4 == cost(128, 4, 1)
    assert cost(64, 4, 1) * 10 == cost(64, 4, 10)
    assert cost(64, None, 1) > cost(64, 4, 1)


MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["", "x", "y"]),
            st.sampled_from(list(Priority)),
            st.integers(1, 9),
        ),
        st.just("take"),
        st.just("remove"),
        st.just("again"),
    ),
    max_size=60,
)


@given(moves=MOVES)
def test_whatever_comes_nothing_is_lost_and_the_order_is_kept(moves: list[object]) -> None:
    queue: FairQueue[str] = FairQueue()
    waiting: set[str] = set()
    taken: list[str] = []
    for number, move in enumerate(moves):
        if isinstance(move, tuple):
            owner, client, priority, cost = move
            item = f"{owner}{number}"
            queue.add(item, owner=owner, client=client, priority=priority, cost=cost)
            waiting.add(item)
        elif move == "again" and taken:
            queue.add_again(taken[-1])
            waiting.add(taken.pop())
        elif waiting and move in ("take", "remove"):
            item = queue.first
            assert item in waiting
            getattr(queue, str(move))(item)
            waiting.discard(item)
            taken += [item] if move == "take" else []
        assert len(queue) == len(waiting)
    promised = queue.order()
    assert set(promised) == waiting
    assert served(queue) == promised


@pytest.mark.parametrize("owners", [2, 5, 20])
def test_a_newcomer_waits_for_at_most_one_round(owners: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for n in range(30):
        for owner in "abcdefghijklmnopqrst"[:owners]:
            add(queue, f"{owner}{n}")
    for _ in range(owners * 3):
        queue.take(queue.first or "")
    add(queue, "z0")
    assert served(queue).index("z0") <= owners
