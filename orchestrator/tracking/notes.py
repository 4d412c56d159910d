"""Markdown that MLflow shows as the description of a sweep or comparison."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from orchestrator.tracking.events import Scalar
from orchestrator.tracking.records import text

if TYPE_CHECKING:
    from orchestrator.tracking.run_view import RunFacts, Summaries
    from orchestrator.tracking.sequence_view import SequenceSummary
    from orchestrator.tracking.standing import Standing
    from orchestrator.tracking.trial_view import TrialView

PLACES = ("{settings}", "{data}", "{best}", "{method}", "{stage}")
_SHOWN = 6  # of the Pareto front


def sweep_note(facts: RunFacts, standing: Standing, sequences: Summaries) -> str:
    """How many trials there are, the best one's settings, and what to type next."""
    best = standing.best
    parts = [_counts(standing.counts)]
    if best:
        parts.append(_best_table(facts, best[:_SHOWN]))
        if len(best) > _SHOWN:
            parts.append(f"{len(best) - _SHOWN} more trials are on the Pareto front.")
    fill = places_of_command(facts.starts[0].command)
    if best:
        fill |= places_of_best(best[0].params, facts.starts[0].config)
        stage = _longest(sequences(best[0].label))
        fill.update({"{stage}": stage[:12]} if stage else {})
    return "\n\n".join([*parts, *_commands(facts, fill)])


def compare_note(facts: RunFacts, sequences: Sequence[SequenceSummary]) -> str:
    """Every method's means over orders and seeds with their spread, and what to type next."""
    names = list(dict.fromkeys(name for s in sequences for name in s.summary))
    head = ["method", "sequences", *names]
    rows = []
    for method in dict.fromkeys(s.method for s in sequences):
        mine = [s for s in sequences if s.method == method]
        done = [s for s in mine if s.summary]
        spread = [_spread([s.summary.get(name) for s in done]) for name in names]
        rows.append([method, f"{len(done)} of {len(mine)}", *spread])
    caption = "Mean ± standard deviation over orders and seeds."
    stage = _longest(sequences)
    fill = {"{stage}": stage[:12]} if stage else {}
    table = [_table(head, rows), caption] if rows else []
    return "\n\n".join([*table, *_commands(facts, fill)])


def stage_note(key: str, parent: str | None) -> str:
    """Where a stage's net comes from, and what one may type about it."""
    parent_text = f"Started from the net of stage `{parent[:12]}`." if parent else "Fresh weights."
    rows = [
        ["see what it is", f"`had show {key[:12]}`"],
        ["verify it", f"`had rerun {key[:12]}`"],
        ["branch off", f"`had rerun {key[:12]} train.epochs=20`"],
        ["use its net", f"`had predict {key[:12]} IMAGES OUT`"],
        ["take its net away", f"`had export {key[:12]} OUT`"],
    ]
    if parent is not None:
        rows.insert(1, ["compare it with its parent", f"`had explain {key[:12]} {parent[:12]}`"])
    return f"{parent_text}\n\n{_table(['to', 'type'], rows)}"


def overrides(params: Mapping[str, Scalar], config: Mapping[str, Any]) -> str:
    """A trial's parameters as they are typed on a command line.

    >>> params = {"method.lambda.depth": 1.5, "method.lambda.normal": 2, "method.beta": 0.5}
    >>> overrides(params, {"method": {"lambda": 3, "beta": 0.5}})
    "'method.lambda={depth:1.5,normal:2}' method.beta=0.5"
    """
    found: dict[str, Any] = {}
    for path, value in params.items():
        outer, inner = _settable(path, config)
        if inner:
            found.setdefault(outer, {})[inner] = value
        else:
            found[outer] = value
    return " ".join(shlex.quote(f"{path}={_typed(value)}") for path, value in found.items())


def places_of_best(params: Mapping[str, Scalar], config: Mapping[str, Any]) -> dict[str, str]:
    """What the best trial fills in the places of a command."""
    return {"{best}": overrides(params, config), **_best_method(params, config)}


def _best_method(params: Mapping[str, Scalar], config: Mapping[str, Any]) -> dict[str, str]:
    """The method with a trial's settings, as a comparison takes it under the label ``best``."""
    method = config.get("method")
    if not isinstance(method, Mapping) or not all(path.startswith("method.") for path in params):
        return {}
    settings: dict[str, Any] = json.loads(json.dumps(dict(method)))
    for path, value in params.items():
        *outer, last = path.split(".")[1:]
        place = settings
        for name in outer:
            inner = place.get(name)
            place[name] = inner if isinstance(inner, dict) else {}
            place = place[name]
        place[last] = value
    return {"{method}": shlex.quote(f"+methods.best={_typed(settings)}")}


def _settable(path: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """A path in two: up to what is one value in the configuration, and what replaces it inside."""
    names = path.split(".")
    value: Any = config
    for count, name in enumerate(names, start=1):
        if not isinstance(value, Mapping) or name not in value:
            break
        value = value[name]
        if not isinstance(value, Mapping):
            return ".".join(names[:count]), ".".join(names[count:])
    return path, ""


def _typed(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_typed(inner)}" for name, inner in value.items()) + "}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def places_of_command(command: str) -> dict[str, str]:
    """What the command that began a run fills in the places of another."""
    own = _own_settings(command)
    if own is None:
        return {}
    words = shlex.split(own)
    data = [word for word in words if not word.lstrip("+").startswith(("method", "reference"))]
    return {"{settings}": own, "{data}": shlex.join(data)}


def _own_settings(command: str) -> str | None:
    """The overrides of the command that began a run, but for the search and the name."""
    words = shlex.split(command)
    if words[:1] != ["had"] or words[1:2] not in (["sweep"], ["compare"]):
        return None
    other = ("-", "name=", "search=", "search.", "+search")
    return shlex.join(word for word in words[2:] if "=" in word and not word.startswith(other))


def _counts(states: Counter[str]) -> str:
    order = ("complete", "pruned", "failed", "running", "interrupted")
    counts = ", ".join(f"{states[name]} {name}" for name in order if states[name])
    return f"Trials: {counts or 'none yet'}."


def _best_table(facts: RunFacts, best: Sequence[TrialView]) -> str:
    rows = [
        [f"**{name}** ({way.value})", *(_number(trial.values.get(name)) for trial in best)]
        for name, way in facts.objectives.items()
    ]
    names = dict.fromkeys(name for trial in best for name in trial.params)
    rows += [[name, *(text(t.params.get(name, "")) for t in best)] for name in names]
    title = "best trial" if len(facts.objectives) == 1 else "best trials"
    return _table([title, *(trial.label for trial in best)], rows)


def _longest(sequences: Iterable[SequenceSummary]) -> str:
    """Key of the stage at the end of the longest chain, preferably one that was trained here."""
    known = [s for s in sequences if s.stage]
    return min(known, key=lambda s: (-s.depth[0], not s.depth[1], s.name)).stage if known else ""


def _commands(facts: RunFacts, fill: dict[str, str]) -> list[str]:
    rows = []
    for purpose, command in facts.commands.items():
        for place, words in fill.items():
            command = command.replace(place, words)
        if not any(place in command for place in PLACES):
            rows.append([purpose, f"`{' '.join(command.split())}`"])
    if not rows:
        return []
    store = facts.starts[-1].config.get("store")
    where = [f"In store `{store['root']}`:"] if isinstance(store, Mapping) else []
    return [*where, _table(["to", "type"], rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), "|---" * len(head) + "|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return _number(known[0]) if known else ""
    return f"{_number(fmean(known))} ± {stdev(known):.2g}"
