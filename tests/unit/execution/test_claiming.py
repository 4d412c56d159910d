from __future__ import annotations

import pytest

from orchestrator.execution import claiming
from orchestrator.execution.claiming import wait_for_claim
from orchestrator.execution.messages import Status


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time passes by sleeping alone."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(claiming, "time", clock)
    return clock


def test_a_free_stage_costs_no_time(clock):
    assert wait_for_claim(lambda: True, lambda: True, 1) is None
    assert clock.now == 0


def test_it_is_had_as_soon_as_it_is_free(clock):
    assert wait_for_claim(lambda: clock.now >= 1.0, lambda: True, 1) is None
    assert clock.now == 1.0


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (3, 6), (10, 20), (500, 20)])
def test_the_more_often_it_was_put_off_the_longer_a_lane_waits(clock, attempt, seconds):
    assert wait_for_claim(lambda: False, lambda: True, attempt) is Status.ELSEWHERE
    assert clock.now == seconds


def test_what_nobody_wants_is_not_waited_for(clock):
    assert wait_for_claim(lambda: False, lambda: clock.now < 1, 9) is Status.CANCELLED
    assert clock.now == 1.0
