"""Settings as MLflow shows them: one short value a column, named by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.tracking.events import Scalar


def method_params(plain: Mapping[str, object]) -> dict[str, Scalar]:
    """A method's settings; what is not set is left out.

    >>> method_params({"lambda": {"depth": 3}, "loss": {"delta": 0.5, "bins": None}})
    {'lambda.depth': 3, 'delta': 0.5}
    """
    return {name.removeprefix("loss."): value for name, value in _flat(plain)}


def _flat(plain: Mapping[str, object], path: str = "") -> Iterator[tuple[str, Scalar]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        elif isinstance(value, (str, int, float, bool)):
            yield f"{path}{name}", value
