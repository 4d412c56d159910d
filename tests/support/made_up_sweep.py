"""The journal of a sweep that never was: as many trials as one likes, without any training.

Three tasks in all six orders, ``had`` and its reference ``naive``; sequences share prefixes, as in
a real sweep. The numbers follow simple formulas, so that the curves look like something.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from itertools import permutations

from orchestrator.tracking.curves import of_history
from orchestrator.tracking.events import (
    DatasetRef,
    Direction,
    End,
    EpochEnded,
    Event,
    PictureRef,
    RunFiles,
    RunFinished,
    RunKind,
    RunStarted,
    SequenceFinished,
    SequenceStarted,
    StageFinished,
    StageRef,
    StageReused,
    StageStarted,
    TrialFinished,
    TrialScored,
    TrialStarted,
    TrialState,
    sequence_id,
)

TASKS = ("depth", "normal", "semantic")
METRICS = {
    "depth": ("abs_err", "rel_err"),
    "normal": ("mean_deg", "median_deg", "within_11.25", "within_22.5", "within_30"),
    "semantic": ("miou", "pixel_acc"),
}
KINDS = {"depth": "scalar", "normal": "unit_vector", "semantic": "labels"}
Rows = dict[str, dict[str, dict[str, float | None]]]


class MadeUpSweep:
    """Writes a sweep's events, one trial after the other.

    Args:
        epochs: of every stage.
        pictures: example pictures of every trained stage.
    """

    def __init__(
        self, run: str = "made-up", *, epochs: int = 5, orders: int = 6, pictures: int = 3
    ) -> None:
        self.run = run
        self._epochs = epochs
        self._pictures = pictures
        self._orders = list(permutations(TASKS))[:orders]
        self._clock = 1_700_000_000.0
        self._trained: set[str] = set()
        self._out: list[Event] = []

    @property
    def stages_trained(self) -> int:
        return len(self._trained)

    def whole(self, trials: int) -> list[Event]:
        """A sweep from its beginning to its end."""
        parts = [self.begin(), *(self.trial(number) for number in range(trials)), self.end()]
        return [event for part in parts for event in part]

    def begin(self) -> list[Event]:
        dataset = DatasetRef(
            name="rooms",
            source="/data/rooms",
            fingerprints={"train": "a" * 64, "test": "b" * 64},
            counts={"train": 800, "test": 200},
            tasks=KINDS,
            height=96,
            width=128,
        )
        self._add(
            RunStarted,
            recipe="quickstart",
            dataset=dataset,
            config={"net": {"encoder": "tiny"}, "train": {"epochs": self._epochs}},
            user="ada",
            commit="0123456789abcdef0123456789abcdef01234567",
            command="had sweep experiment=quickstart",
            kind=RunKind.SWEEP,
            objectives={"mean_delta_m_pct": Direction.MAXIMIZE},
            commands={
                "continue": f"had resume {self.run}",
                "extend by 8 trials": "had sweep experiment=quickstart --trials +8",
                "compare the best on the test set": "had compare experiment=quickstart {best}",
                "rerun a stage of it": "had rerun {stage}",
            },
        )
        return list(self._taken())

    def trial(self, number: int, *, pruned: bool = False) -> list[Event]:
        weight = 0.1 * 300 ** ((number * 0.618) % 1)  # spread over 0.1 .. 30
        beta = (number * 0.755) % 1
        label = f"t{number:04d}"
        params = {"method.lambda": weight, "method.beta": beta}
        self._add(TrialStarted, trial=label, number=number, params=params)
        orders = self._orders[:2] if pruned else self._orders
        for method in ("naive", "had"):
            for order in self._orders:
                self._add(
                    SequenceStarted,
                    sequence=sequence_id(method, order, 0, label),
                    method=method,
                    order=order,
                    seed=0,
                    label=label,
                    trial=label,
                    params={"method": method, "lambda": weight, "beta": beta, "net": "tiny"},
                )
        gains = []
        for step, order in enumerate(orders, start=1):
            self._sequence("naive", order, label, 0.0, 0.0)
            gains.append(self._sequence("had", order, label, weight, beta))
            values = {"running": sum(gains) / step, "delta_m_pct": gains[-1]}
            self._add(TrialScored, trial=label, step=step, values=values)
        final = {} if pruned else {"mean_delta_m_pct": sum(gains) / len(gains)}
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        self._add(TrialFinished, trial=label, end=End.FINISHED, state=state, values=final)
        return list(self._taken())

    def end(self, end: End = End.FINISHED, files: dict[str, str] | None = None) -> list[Event]:
        if files:
            self._add(RunFiles, files=files)
        self._add(RunFinished, end=end)
        return list(self._taken())

    def _sequence(
        self, method: str, order: tuple[str, ...], label: str, weight: float, beta: float
    ) -> float:
        """All stages of a sequence; its Delta_m."""
        name = sequence_id(method, order, 0, label)
        parent = None
        for position in range(1, len(order) + 1):
            settings = (method, weight, beta) if position > 1 else ()
            key = hashlib.sha256(repr((settings, order[:position])).encode()).hexdigest()
            task = order[position - 1]
            ref = StageRef(sequence=name, key=key, parent=parent, position=position, tasks=(task,))
            rows = self._rows(order[:position], weight)
            if key in self._trained:
                self._reuse(ref, rows)
            else:
                self._train(ref, rows)
            parent = key
        kept = math.exp(-(math.log(weight / 3) ** 2) / 8) if weight else 0.0
        gain = 30 * kept * (0.8 + 0.4 * beta) + len(order[0])
        self._add(
            SequenceFinished,
            sequence=name,
            end=End.FINISHED,
            summary={
                "delta_m_pct": gain if method == "had" else None,
                "forgetting": 0.5 - 0.4 * kept,
                "bwt": -0.2,
                "mean_rank": 1.5,
            },
        )
        return gain

    def _train(self, ref: StageRef, rows: Rows) -> None:
        self._trained.add(ref.key)
        params = {"method": "had", "lr": 1e-3, "batch_size": 8}
        self._add(StageStarted, stage=ref, attempt=1, epochs=self._epochs, params=params)
        for epoch in range(1, self._epochs + 1):
            terms = self._terms(ref, epoch)
            self._add(
                EpochEnded,
                sequence=ref.sequence,
                key=ref.key,
                attempt=1,
                epoch=epoch,
                steps=10,
                images=80,
                seconds=0.9,
                terms=terms,
            )
        key = f"e{ref.key[1:]}"
        shown = tuple(PictureRef(task=t, key=key, file=f"{t}.png") for t in rows["val"])
        self._add(
            StageFinished,
            stage=ref,
            attempt=1,
            rows=rows,
            evals={"val": key},
            pictures=shown[: self._pictures],
            seconds=5.0,
            steps_run=50,
            numerics={"workers": 1, "threads": 1, "device": "cpu", "torch": "2.13.0"},
        )

    def _reuse(self, ref: StageRef, rows: Rows) -> None:
        epochs = range(1, self._epochs + 1)
        curves = of_history((self._terms(ref, epoch), {}) for epoch in epochs)
        evals = {"val": f"e{ref.key[1:]}"}
        self._add(StageReused, stage=ref, rows=rows, evals=evals, curves=curves)

    @staticmethod
    def _terms(ref: StageRef, epoch: int) -> dict[str, float]:
        terms = {f"new/{ref.tasks[0]}": 1.0 / epoch}
        return terms | {f"{kind}/old": 0.3 / epoch for kind in ("db", "sg") if ref.position > 1}

    def _rows(self, learned: tuple[str, ...], weight: float) -> Rows:
        lost = 0.1 if weight else 0.3
        rows: dict[str, dict[str, float | None]] = {}
        for place, task in enumerate(learned):
            age = len(learned) - 1 - place
            rows[task] = {
                metric: round(0.6 - lost * age + 0.01 * n, 4)
                for n, metric in enumerate(METRICS[task])
            }
        return {"val": rows}

    def _add(self, make: type[Event], **fields: object) -> None:
        self._clock += 0.5
        self._out.append(make(time=self._clock, run=self.run, **fields))  # type: ignore[arg-type]

    def _taken(self) -> Iterator[Event]:
        out, self._out = self._out, []
        yield from out
