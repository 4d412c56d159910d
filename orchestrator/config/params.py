"""One trial's values put into a run's settings, by dotted path (``method.loss.delta``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from had_core.decode import outside_names, unknown_key
from had_core.errors import BadInput
from orchestrator.search.settings import Params

if TYPE_CHECKING:
    from orchestrator.config.schema import RunConfig

# The rest either is what a setting is judged on (tasks, orders, seeds, data) or decides nothing.
SEARCHABLE = ("method", "net", "train")
_FILES = ("net.weights", "net.weights_sha256")


def with_params(config: RunConfig, params: Params) -> RunConfig:
    """The run of one trial: ``config`` with these values, and without its search.

    ``method.lambda.depth`` makes a weight a task of a single weight; the tasks that are not named
    keep it.

    Raises:
        BadInput: a path that does not exist, or a value that the settings do not allow.
    """
    raw = dataclasses.replace(config, search=None).to_json()
    for path, value in params.items():
        value_at(config, path)
        place = raw
        *parents, last = path.split(".")
        for name in parents:
            if not isinstance(place[name], dict):
                place[name] = dict.fromkeys(config.tasks, place[name])
            place = place[name]
        place[last] = value
    return type(config).from_json(raw)


def value_at(config: RunConfig, path: str, *, at: str = "") -> Any:
    """The value that a trial would replace, as the settings hold it (3.0 is a float, 3 an int).

    Args:
        at: what stands before the path in error messages.

    Raises:
        BadInput: there is none, or a trial may not replace it.
    """
    first, *rest = path.split(".")
    if first not in SEARCHABLE or path in _FILES:
        raise BadInput(
            f"{at}{path} cannot be searched: allowed are the settings of {', '.join(SEARCHABLE)}, "
            f"but for {' and '.join(_FILES)}"
        )
    place: Any = getattr(config, first)
    done = f"{at}{first}"
    for name in rest:
        done = f"{done}.{name}"
        place = _inside(place, name, done, config.tasks)
    return place


def _inside(place: Any, name: str, path: str, tasks: tuple[str, ...]) -> Any:
    if dataclasses.is_dataclass(place) and not isinstance(place, type):
        fields = outside_names(type(place))
        if name not in fields:
            raise unknown_key(path, name, fields)
        return getattr(place, fields[name].name)
    if isinstance(place, Mapping):
        if name not in place:
            raise unknown_key(path, name, place)
        return place[name]
    if type(place) is float and name in tasks:  # one for all tasks, about to be one a task
        return place
    raise unknown_key(path, name, tasks if type(place) is float else ())
