"""What the commands that browse a store have to show: frozen values with a JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.plan.explain import Explanation


@dataclass(frozen=True)
class ExplainResult:
    """Why two stages differ."""

    store: str
    explanation: Explanation

    def to_json(self) -> dict[str, Any]:
        same = self.explanation.same
        return {**self.explanation.to_json(), "same": same, "store": self.store}
