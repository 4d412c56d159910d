"""Optuna's plots of a study on one page of HTML that needs nothing else, not even a network.

History, importance, slice and parallel coordinates of the parameters, the values over the orders,
and with two objectives the Pareto front. The page depends on the study alone, so that equal
studies give equal bytes.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_log = logging.getLogger(__name__)
FILE = "plots.html"
_IMPORTANCE = "What decides whether a trial is among the best tenth; rough below fifty trials."
# Plotly takes these from sys.modules as they are; another thread (MLflow's writer) may just be
# importing them, and importing them here waits until it is done.
_LOOKED_UP = ("pandas", "PIL.Image")
_Plot = tuple[str, str, Callable[[], Any]]
"""Title, what it shows, and how the figure is made."""


def load() -> None:
    """Import what ``plots_page`` needs, so that it need not: seconds where all cores are busy."""
    for name in ("optuna.importance", "optuna.visualization"):
        importlib.import_module(name)


def plots_page(study: Study, objectives: Sequence[str], title: str) -> str | None:
    """The page, None while the study has too little to show (two complete trials).

    A plot that Optuna cannot draw for this study is left out.

    Args:
        objectives: names of the study's values, in its order.
    """
    from optuna.trial import TrialState
    from plotly.offline import get_plotlyjs

    from orchestrator.search.importance import quiet_optuna

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 2:
        return None
    for name in _LOOKED_UP:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    quiet_optuna()
    sections = []
    for heading, text, draw in _plots(study, objectives):
        try:
            section = _section(heading, text, draw())
        except Exception as error:  # whatever Optuna says of an unusual study; the rest is shown
            _log.warning("plot '%s' of sweep '%s' is left out: %s", heading, title, error)
            continue
        sections.append(section)
    return _PAGE.format(
        title=html.escape(title),
        counts=html.escape(_counts(study)),
        script=get_plotlyjs(),
        sections="\n".join(sections),
    )


def _plots(study: Study, objectives: Sequence[str]) -> Iterator[_Plot]:
    from optuna import visualization as draw

    from orchestrator.search.importance import loss_of

    several = len(objectives) > 1
    if several:
        yield (
            "Pareto front",
            "Trials that no other one beats in everything.",
            lambda: draw.plot_pareto_front(study, target_names=list(objectives)),
        )
    for number, name in enumerate(objectives):
        of = f" of {name}" if several else ""
        target = {"target": _value(number), "target_name": name}
        yield (
            f"History{of}",
            "Every trial, and the best so far.",
            _call(
                draw.plot_optimization_history, study, target if several else {"target_name": name}
            ),
        )
        yield (
            f"Importance{of}",
            _IMPORTANCE,
            _call(
                draw.plot_param_importances,
                study,
                {"target": loss_of(study, number), "target_name": name} if several else {},
            ),
        )
        yield (
            f"Each parameter{of}",
            "One point a trial; darker is later.",
            _call(draw.plot_slice, study, target),
        )
        yield (
            f"All parameters together{of}",
            "One line a trial.",
            _call(draw.plot_parallel_coordinate, study, target),
        )
    if not several:
        yield (
            "Values over the orders",
            "What pruning compares: one line a trial.",
            _call(draw.plot_intermediate_values, study, {}),
        )


def _value(number: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: float(trial.values[number])


def _call(draw: Callable[..., Any], study: Study, options: Mapping[str, Any]) -> Callable[[], Any]:
    return lambda: draw(study, **options)


def _section(heading: str, text: str, figure: Any) -> str:
    name = "".join(c if c.isalnum() else "-" for c in heading.lower())
    figure.update_layout(title=None, template="plotly_white", margin={"t": 30})
    drawn = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"responsive": True}
    )
    return f"<h2>{html.escape(heading)}</h2>\n<p>{html.escape(text)}</p>\n{drawn}"


def _counts(study: Study) -> str:
    from orchestrator.search.study import counting

    states = [trial.state.name for trial in counting(study)]
    words = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    return ", ".join(
        f"{states.count(state)} {word}" for state, word in words.items() if state in states
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 1rem auto; padding: 0 1rem; max-width: 70rem; }}
h2 {{ margin-bottom: 0; }}
p {{ color: #555; margin-top: 0.25rem; }}
</style>
<script>{script}</script>
</head>
<body>
<h1>{title}</h1>
<p>Trials: {counts}.</p>
{sections}
</body>
</html>
"""
