"""Orders of the tasks: given one by one, all of them, or a seeded sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from had_core.canonical import derive_seed
from had_core.decode import shortened
from had_core.errors import BadInput

Order = tuple[str, ...]

_ALLOWED = "all, sample:K with K of 1 or more, or a list of orders"


def resolve_orders(
    orders: str | Sequence[Sequence[str]], tasks: Sequence[str], seed: int
) -> tuple[Order, ...]:
    """The orders that ``all``, ``sample:K`` or a list of lists stands for.

    ``sample:K`` draws K different orders; ``sample:K+1`` draws the same K and one more, so that a
    larger sample reuses the smaller one's stages.

    Args:
        tasks: the tasks of the run; every order is a permutation of them.
        seed: decides the sample, together with ``tasks``.

    Raises:
        BadInput: no or repeated tasks, an order that is not a permutation of them, an order given
            twice, more samples than there are orders, or another word.
    """
    names = tuple(tasks)
    if not names or len(set(names)) < len(names):
        raise BadInput(f"tasks={list(names)} is not allowed: at least one, each named once")
    if not isinstance(orders, str):
        return _explicit(orders, names)
    if orders == "all":
        return tuple(itertools.permutations(names))
    word, _, count = orders.partition(":")
    digits = count.lstrip("0")
    if word == "sample" and digits.isascii() and digits.isdecimal():
        return _sample(digits, names, seed)
    raise BadInput(f"orders={shortened(orders)} is not allowed: {_ALLOWED}")


def _explicit(orders: Sequence[Sequence[str]], tasks: Order) -> tuple[Order, ...]:
    if not orders:
        raise BadInput(f"orders=[] is not allowed: {_ALLOWED}")
    resolved = tuple(_checked(order, tasks) for order in orders)
    for k, order in enumerate(resolved):
        if order in resolved[:k]:
            raise BadInput(f"orders names {list(order)} twice: each order once")
    return resolved


def _checked(order: Sequence[str], tasks: Order) -> Order:
    for name in order:
        if name not in tasks:
            raise BadInput(
                f"order={list(order)} names '{name}', which is not a task: {', '.join(tasks)}"
            )
    if len(set(order)) < len(order) or len(order) < len(tasks):
        raise BadInput(
            f"order={list(order)} is not allowed: each of {', '.join(tasks)} exactly once"
        )
    return tuple(order)


def _sample(count: str, tasks: Order, seed: int) -> tuple[Order, ...]:
    possible = math.factorial(len(tasks))
    # Digits first: Python converts only so many.
    if len(count) > len(str(possible)) or int(count) > possible:
        asked = shortened(f"sample:{count}")
        raise BadInput(f"orders={asked} is not allowed: {len(tasks)} tasks have {possible} orders")
    return tuple(itertools.islice(_shuffled(tasks, seed), int(count)))


def _shuffled(tasks: Order, seed: int) -> Iterator[Order]:
    """All orders in a seeded order, by a lazy Fisher-Yates shuffle over their numbers.

    Uses ``derive_seed`` alone, so that the sample does not depend on a library's generator.
    """
    possible = math.factorial(len(tasks))
    moved: dict[int, int] = {}
    for k in range(possible):
        drawn = k + derive_seed(seed, "orders", list(tasks), k) % (possible - k)
        yield _nth(moved.get(drawn, drawn), tasks)
        moved[drawn] = moved.get(k, k)


def _nth(number: int, tasks: Order) -> Order:
    """The permutation with this number in lexicographic order of positions."""
    rest, order = list(tasks), []
    for left in range(len(tasks) - 1, -1, -1):
        place, number = divmod(number, math.factorial(left))
        order.append(rest.pop(place))
    return tuple(order)
