from __future__ import annotations

from had_core.progress import EpochRecord
from orchestrator.execution.messages import StageProgress
from orchestrator.execution.observer import Reporter


class Scene:
    """A reporter with a clock that is moved by hand."""

    def __init__(self, wanted: bool = True, done: int = 0) -> None:
        self.now, self.wanted = 0.0, wanted
        self.told: list[StageProgress] = []
        self.saved: list[int] = []
        start = StageProgress("k", "l", 1, 2, ("b",), "had", ("a", "b"), done, 5, 0, 0)
        self.reporter = Reporter(start, 8, self.tell, self.save, lambda: self.now)

    def tell(self, progress: StageProgress) -> bool:
        self.told.append(progress)
        return self.wanted

    def save(self, record, progress) -> None:
        self.saved.append(record.epoch)

    def epoch(self, number: int) -> None:
        terms = {"new/b": 0.5}
        self.reporter.on_epoch(EpochRecord(number, number * 10, 80, 1.0, 1e-3, terms), None)


def test_steps_are_told_at_most_four_times_a_second():
    scene = Scene()
    for step in range(1, 101):
        scene.now += 0.01
        scene.reporter.on_step(1, step, 100)
    assert 3 <= len(scene.told) - 1 <= 4
    last = scene.told[-1]
    assert (last.epoch, last.steps_per_epoch) == (1, 100)
    assert abs(last.images_per_s - 800) < 10


def test_an_epoch_is_saved_and_told_at_once_with_its_terms():
    scene = Scene()
    scene.reporter.on_step(1, 10, 10)
    scene.epoch(1)
    assert scene.saved == [1]
    told = scene.told[-1]
    assert (told.epoch, told.step, told.steps_per_epoch) == (1, 10, 10)
    assert told.terms == {"new/b": 0.5}


def test_speed_forgets_a_slow_past():
    scene = Scene()
    scene.now = 100.0  # one very slow step
    scene.reporter.on_step(1, 1, 1000)
    for step in range(2, 600):
        scene.now += 0.02
        scene.reporter.on_step(1, step, 1000)
    assert abs(scene.told[-1].images_per_s - 400) < 20


def test_unwanted_means_cancelled_for_good():
    scene = Scene(wanted=False)
    assert scene.reporter.cancelled()
    scene.wanted = True
    scene.epoch(1)
    assert scene.reporter.cancelled()


def test_a_continued_stage_begins_where_it_stopped():
    assert Scene(done=3).told[0].epoch == 3
