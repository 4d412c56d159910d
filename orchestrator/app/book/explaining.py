"""``had explain``: why two sealed stages have different keys."""

from __future__ import annotations

from orchestrator.app.book.reading import open_existing, sealed_fit
from orchestrator.display.book import ExplainResult
from orchestrator.plan.explain import explain as explain_specs


def explain(left: str, right: str, root: str) -> ExplainResult:
    """Compare the lineages of two stages, each named by its key's first digits or MLflow run id.

    Raises BadInput for a stage that is unknown, ambiguous or damaged.
    """
    store = open_existing(root)
    explanation = explain_specs(sealed_fit(store, left), sealed_fit(store, right))
    return ExplainResult(store.uri, explanation)
