"""A thread that waits for the device sleeps through most of a frame and is there at its end."""

from __future__ import annotations

from core_server.pipelines.live_waits import Waits


class Device:
    """Its clock goes on while somebody sleeps or turns. asked: how often it was looked at; turned: seconds."""

    def __init__(self) -> None:
        self.now = self.done = self.turned = self.late = 0.0
        self.asked = 0

    def begin(self, seconds: float) -> None:
        self.done = self.now + seconds
        self.asked, self.turned = 0, 0.0

    def query(self) -> bool:
        self.asked += 1
        return self.now >= self.done

    def synchronize(self) -> None:
        self.turned = max(0.0, self.done - self.now)
        self.late = max(0.0, self.now - self.done)
        self.now = max(self.now, self.done)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_frames_alike_are_met_with_little_turning() -> None:
    device = Device()
    waits = Waits(lambda: device.now, device.sleep)
    device.begin(0.006)
    waits.until(device)
    assert device.turned == 0, "nothing is known of the first one"
    for _ in range(10):
        device.begin(0.006)
        waits.until(device)
        assert device.late == 0
        assert 0 < device.turned < 0.002
        assert device.asked < 10


def test_one_that_is_over_sooner_is_seen_and_one_that_takes_longer_is_waited_for() -> None:
    device = Device()
    waits = Waits(lambda: device.now, device.sleep)
    for _ in range(6):
        device.begin(0.006)
        waits.until(device)
    for seconds in (0.0, 0.002, 0.004, 0.02):
        device.begin(seconds)
        waits.until(device)
        assert device.late <= 0.0015
        assert device.now >= device.done
