"""The methods of a run under their labels: one beside its reference, or those of a comparison."""

from __future__ import annotations

import re
from collections.abc import Mapping

from had_core.errors import BadInput
from had_core.methods.base import MethodConfig

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,39}")


def labelled(
    method: MethodConfig, reference: MethodConfig | None, compared: Mapping[str, MethodConfig]
) -> tuple[tuple[str, MethodConfig], ...]:
    """Label and settings of every method, the reference first where there is one.

    A method's label is its name; in a comparison it is the key under ``methods``.
    """
    pairs = tuple(compared.items()) or ((method.name, method),)
    if reference is None:
        return pairs
    label = reference_label(method, reference, compared)
    return ((label, reference), *(pair for pair in pairs if pair[1] != reference))


def reference_label(
    method: MethodConfig, reference: MethodConfig, compared: Mapping[str, MethodConfig]
) -> str:
    """The label of the reference: of the same settings among ``compared``, else its name."""
    if not compared:
        same_name = reference.name == method.name and reference != method
        return f"{reference.name}-reference" if same_name else reference.name
    known = (label for label, other in compared.items() if other == reference)
    return next(known, reference.name)


def check_labels(compared: Mapping[str, MethodConfig], reference: MethodConfig | None) -> None:
    """Labels that can stand in ids, each for other settings, and none for another reference.

    Raises:
        BadInput: naming the label and what is allowed.
    """
    known: list[tuple[str, MethodConfig]] = []
    for label, method in compared.items():
        if not _LABEL.fullmatch(label):
            raise BadInput(
                f"methods.{label} is not allowed: a label has up to 40 letters, digits, '_', '+' "
                "and '-', beginning with a letter or digit"
            )
        for other, settings in known:
            if settings == method:
                raise BadInput(
                    f"methods.{label} is not allowed: it has the settings of methods.{other}"
                )
        known.append((label, method))
    if reference is None or reference in compared.values():
        return
    if reference.name in compared:
        raise BadInput(
            f"reference={reference.name} is not allowed: methods.{reference.name} has other "
            "settings; rename it"
        )


def at_label(error: BadInput, label: str) -> BadInput:
    """A method's complaint about ``method.lambda`` as one about ``methods.<label>.lambda``."""
    text = str(error)
    if text.startswith("method."):
        text = f"methods.{label}.{text.removeprefix('method.')}"
    return BadInput(text)
