"""How the numbers of a report came about: commands to type, settings, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.app.book.report_cost import Manifests
from orchestrator.app.book.report_data import KnownData
from orchestrator.config import RunConfig
from orchestrator.display.numbers import counted
from orchestrator.report.model import Made
from orchestrator.search.settings import Params
from orchestrator.tracking.events import Event, RunStarted
from orchestrator.tracking.notes import PLACES, places_of_best, places_of_command

_KEYS = ("python", "torch", "numpy", "ray", "optuna", "mlflow", "had-orchestrator")


def made_of(
    config: RunConfig,
    data: KnownData,
    events: Iterable[Event],
    manifests: Manifests,
    *,
    best: Params,
    stage: str | None,
) -> Made:
    """
    Args:
        best: the best setting of a sweep.
        stage: key of a last stage, to verify.
    """
    starts = [event for event in events if isinstance(event, RunStarted)]
    commands: dict[str, str] = {}
    typed = list(dict.fromkeys(start.command for start in starts if start.command))
    for number, command in enumerate(typed):
        commands["it was begun with" if number == 0 else f"continued with ({number})"] = command
    commands |= _next(config, starts, best, stage)
    return Made(commands, {**_settings(config, data), **_versions(starts, manifests)})


def _next(
    config: RunConfig, starts: Sequence[RunStarted], best: Params, stage: str | None
) -> dict[str, str]:
    """What one may type next, as far as its places can be filled."""
    fill = places_of_command(starts[0].command) if starts else {}
    if best:
        fill |= places_of_best(best, config.to_json())
    if stage is not None:
        fill["{stage}"] = stage[:12]
    known = starts[-1].commands if starts else {}
    wanted = {"continue": f"had resume {config.name}", **known}
    filled = {}
    for purpose, command in wanted.items():
        for place, words in fill.items():
            command = command.replace(place, words)
        if not any(place in command for place in PLACES):
            filled[purpose] = " ".join(command.split())
    return filled


def _settings(config: RunConfig, data: KnownData) -> dict[str, str]:
    images = ", ".join(f"{count} {split}" for split, count in sorted(data.counts.items()))
    marks = ", ".join(f"{name} {mark[:12]}" for name, mark in sorted(data.fingerprints.items()))
    net, train, slicing = config.net, config.train, config.slicing
    facts = {
        "data set": f"{data.name}: {images} images of {data.width}x{data.height}",
        "fingerprints": marks,
        "slices": f"{slicing.slices}, of each {100 * slicing.val_fraction:g} % held out",
        "net": f"{net.encoder.value}, stride {net.output_stride}, norm {net.norm.value}",
        "training": (
            f"{counted(train.epochs, 'epoch')} a stage, batch {train.batch_size}, "
            f"{train.optimizer.value}, learning rate {train.lr:g}, {train.precision.value}"
        ),
        "settings' hash": config.hash[:16],
    }
    for label, method in config.methods:
        facts[f"method {label}"] = _method(label, method)
    return facts


def _method(label: str, method: Any) -> str:
    from had_core.canonical import to_plain

    plain = to_plain(method)
    words = [f"{name}={value}" for name, value in _flat(plain)]
    return ", ".join([*([] if label == method.name else [method.name]), *words]) or method.name


def _flat(plain: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _versions(starts: Iterable[RunStarted], manifests: Manifests) -> dict[str, str]:
    """Every version that trained something; several where a store is older than a machine."""
    facts = {}
    found: dict[str, set[str]] = {}
    classes: set[str] = set()
    commits = {start.commit for start in starts if start.commit}
    for manifest in manifests.values():
        for name, version in manifest.get("versions", {}).items():
            found.setdefault(name, set()).add(str(version))
        if manifest.get("numerics"):
            classes.add(", ".join(f"{k} {v}" for k, v in sorted(manifest["numerics"].items())))
        if manifest.get("commit"):
            commits.add(str(manifest["commit"]))
    if found:
        names = sorted(found, key=lambda name: (name not in _KEYS, name))
        facts["versions"] = ", ".join(f"{n} {' and '.join(sorted(found[n]))}" for n in names)
    if classes:
        facts["numerics"] = "; ".join(sorted(classes))
    mixed = sum(bool(manifest.get("mixed_numerics")) for manifest in manifests.values())
    if mixed:
        facts["mixed numerics"] = f"{mixed} stages were resumed in another numerics class"
    if commits:
        facts["commit"] = ", ".join(sorted(commits))
    return facts
