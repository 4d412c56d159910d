"""What a sweep asks of one setting: which stages it wants, and how well an order went.

Sent to the processes of the trials, so it holds plain values only, and reads rows from the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from had_core.errors import HadError
from had_core.tasks import DenseTask
from orchestrator.app.planning import sequences_of
from orchestrator.app.scores import Reference, known_constant, sequence_results
from orchestrator.config import RunConfig, with_params
from orchestrator.display.results import Row, SequenceResult
from orchestrator.execution.driver import survey
from orchestrator.plan.specs import SequenceSpec
from orchestrator.plan.tree import PrefixTree
from orchestrator.search.objective import Order, common_sequence
from orchestrator.search.settings import Params, Pruner
from orchestrator.search.trial import OrderScore, TrialPlan
from orchestrator.store import Store

_AHEAD = 1  # order beyond the next, so that lanes have work while a trial is being judged
SPLIT = "val"  # a sweep never looks at the test split


class NotScored(HadError):
    """A row that Delta_m needs is missing or undefined."""


@dataclass(frozen=True)
class SweepProblem:
    """A ``search.trial.Problem``.

    Attributes:
        config: the sweep's settings; ``config.search`` is set.
        fingerprints: of the data set's splits.
        tasks: the tasks to learn.
        constant: scores of the best constant prediction on the validation part; None for those
            that lie in the store when they are needed.
    """

    config: RunConfig
    fingerprints: Mapping[str, str]
    tasks: tuple[DenseTask, ...]
    constant: Row | None = None

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders in the sequence in which every trial is judged on them."""
        assert self.config.search is not None
        return common_sequence(self.config.orders, self.config.search.seed)

    @property
    def _prunes(self) -> bool:
        return self.config.search is not None and self.config.search.pruner is not Pruner.NONE

    def plan(self, label: str, params: Params) -> TrialPlan:
        """The stages of one setting and of the reference, over all orders and seeds."""
        store = Store.open(self.config.store.root)
        sequences = self.sequences(params)
        backlog = survey(PrefixTree.of(sequences), store, self.config.name, label)
        orders = self.orders
        return TrialPlan(
            label=label,
            params=params,
            works=backlog.works,
            sealed=backlog.sealed,
            orders=orders,
            keys=tuple(
                frozenset(
                    stage.key
                    for sequence in sequences
                    if sequence.order == order
                    for stage in sequence.stages
                )
                for order in orders
            ),
            ahead=_AHEAD if self._prunes else None,
        )

    def score(self, plan: TrialPlan, order: int) -> OrderScore:
        """How one order went, as a mean over the seeds.

        Raises:
            NotScored: a sequence is not complete, or its metrics are undefined.
        """
        results = self.results(plan.params, plan.orders[order])
        judged = [result for result in results if result.delta_m_pct is not None]
        if len(judged) < len(self.config.seeds):
            shown = " > ".join(plan.orders[order])
            raise NotScored(f"order {shown} of trial {plan.label} has no defined Delta_m")
        return OrderScore(
            delta_m_pct=_mean([result.delta_m_pct for result in judged]),
            forgetting=_mean([result.forgetting for result in judged]),
        )

    def results(self, params: Params, *orders: Order) -> tuple[SequenceResult, ...]:
        """Every sequence of one setting (and the reference's) as far as it got."""
        store = Store.open(self.config.store.root)
        return sequence_results(
            self.sequences(params, *orders),
            {task.name: task for task in self.tasks},
            store,
            frozenset(),
            self._reference(store),
            SPLIT,
        )

    def _reference(self, store: Store) -> Reference | None:
        label, constant = self.config.reference_label, self.constant
        if constant is None:
            constant = known_constant(self.fingerprints, store, self.config.slicing)
        return None if label is None or constant is None else Reference(label, constant)

    def sequences(self, params: Params, *orders: Order) -> tuple[SequenceSpec, ...]:
        """The sequences of one setting, scored on the validation part; of all orders if none is
        named."""
        config = self.trial_config(params)
        return sequences_of(config, self.fingerprints, orders or self.orders, (SPLIT,))

    def trial_config(self, params: Params) -> RunConfig:
        """The run of one setting."""
        return with_params(self.config, params)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan
