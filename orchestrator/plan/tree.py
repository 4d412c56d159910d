"""The prefix tree: every stage that some sequence wants, once.

::

    orders (a b c) and (a c b):      a ──> ab ──> abc        5 stages for 6 wanted
                                     └───> ac ──> acb
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from orchestrator.plan.bulk import no_collection
from orchestrator.plan.specs import EvalSpec, FitSpec, MemorySpec, SequenceSpec, StageSpec


@dataclass(frozen=True)
class StageNode:
    """One stage to have, whoever wants it.

    Attributes:
        stage: fit, memory and evaluations; the union of what its sequences ask for.
        memories: what the methods that share the fit keep after it.
        parent: key of the node it starts from; None for fresh weights, and where the parent is not
            in the tree (one stage asked for by itself).
        children: keys of the nodes that start from it.
        depth: 1 for fresh weights, else the fit's number in its own lineage.
        remaining: stages on the longest chain from here down, this one included. Longest first
            keeps the last workers busy.
        sequences: indices of the sequences that want it, ascending; the first asked first.
    """

    stage: StageSpec
    memories: tuple[MemorySpec, ...]
    parent: str | None
    children: tuple[str, ...]
    depth: int
    remaining: int
    sequences: tuple[int, ...]

    @property
    def key(self) -> str:
        return self.stage.fit.key

    @property
    def fit(self) -> FitSpec:
        return self.stage.fit

    @property
    def evals(self) -> tuple[EvalSpec, ...]:
        return self.stage.evals


@dataclass(frozen=True)
class PrefixTree:
    """Nodes by fit key, parents before children."""

    nodes: Mapping[str, StageNode]
    sequences: tuple[SequenceSpec, ...]

    @classmethod
    def of(cls, sequences: Sequence[SequenceSpec]) -> PrefixTree:
        with no_collection():
            return cls._of(sequences)

    @classmethod
    def _of(cls, sequences: Sequence[SequenceSpec]) -> PrefixTree:
        gathered = _gather(sequences)
        order = sorted(gathered, key=lambda key: gathered[key].depth)  # stable
        children: dict[str, list[str]] = {key: [] for key in order}
        for key in order:
            parent = gathered[key].parent
            if parent in children:
                children[parent].append(key)
        remaining: dict[str, int] = {}
        for key in reversed(order):
            remaining[key] = 1 + max((remaining[child] for child in children[key]), default=0)
        nodes = {
            key: gathered[key].node(children, tuple(children[key]), remaining[key]) for key in order
        }
        return cls(MappingProxyType(nodes), tuple(sequences))

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[StageNode]:
        """Parents before children."""
        return iter(self.nodes.values())

    def __getitem__(self, key: str) -> StageNode:
        return self.nodes[key]

    @cached_property
    def roots(self) -> tuple[StageNode, ...]:
        """Nodes without a parent in the tree."""
        return tuple(node for node in self if node.parent is None)

    @cached_property
    def wanted(self) -> int:
        """Stages that the sequences ask for, counting a shared one every time."""
        return sum(len(sequence.stages) for sequence in self.sequences)

    def descendants(self, key: str) -> tuple[str, ...]:
        """Keys of everything that starts from this stage, at any distance, parents first."""
        found = list(self.nodes[key].children)
        for child in found:  # grows while it is read
            found.extend(self.nodes[child].children)
        return tuple(found)

    def at_depth(self) -> Mapping[int, int]:
        """Number of nodes at each depth."""
        return Counter(node.depth for node in self)


class _Gathered:
    """A node while its sequences are still being read."""

    __slots__ = ("depth", "first", "others", "parent", "sequences")

    def __init__(self, stage: StageSpec, depth: int) -> None:
        self.first, self.depth = stage, depth
        self.others: list[StageSpec] = []
        self.parent = stage.fit.parent.key if stage.fit.parent else None
        self.sequences: list[int] = []

    def add(self, stage: StageSpec, sequence: int) -> None:
        if stage is not self.first and all(stage is not other for other in self.others):
            self.others.append(stage)
        self.sequences.append(sequence)

    def node(
        self, known: Mapping[str, object], children: tuple[str, ...], remaining: int
    ) -> StageNode:
        stage, memories = self._union()
        return StageNode(
            stage=stage,
            memories=memories,
            parent=self.parent if self.parent in known else None,
            children=children,
            depth=self.depth,
            remaining=remaining,
            sequences=tuple(self.sequences),
        )

    def _union(self) -> tuple[StageSpec, tuple[MemorySpec, ...]]:
        if not self.others:
            return self.first, (self.first.memory,) if self.first.memory else ()
        every = [self.first, *self.others]
        evals = {spec.key: spec for stage in every for spec in stage.evals}
        memories = {stage.memory.key: stage.memory for stage in every if stage.memory}
        kept = tuple(memories.values())
        first = self.first
        stage = StageSpec(first.fit, tuple(evals.values()), kept[0] if kept else None, first.row)
        return stage, kept


def _gather(sequences: Sequence[SequenceSpec]) -> dict[str, _Gathered]:
    gathered: dict[str, _Gathered] = {}
    for number, sequence in enumerate(sequences):
        for stage in sequence.stages:
            key = stage.fit.key
            known = gathered.get(key)
            if known is None:
                known = gathered[key] = _Gathered(stage, _depth(stage.fit, gathered))
            known.add(stage, number)
    return gathered


def _depth(fit: FitSpec, gathered: Mapping[str, _Gathered]) -> int:
    if fit.parent is None:
        return 1
    parent = gathered.get(fit.parent.key)
    return 1 + (parent.depth if parent else len(fit.parent.lineage()))
