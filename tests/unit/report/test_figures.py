"""Figures: what is drawn, and told apart without colour; test_page draws all of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from made_up_report import ORDERS, compared, made_up, sequence

from orchestrator.display.comparison import CompareResult
from orchestrator.report.figures.curves import _calm, forgetting_curves
from orchestrator.report.figures.heat import _shades, r_maps
from orchestrator.report.figures.orders import order_spread
from orchestrator.report.figures.style import look_of


def test_the_style_of_the_users_matplotlib_does_not_matter():
    import matplotlib

    expected = order_spread(made_up())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert order_spread(made_up()) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_methods_differ_in_print_without_colours():
    looks = [look_of(k) for k in range(20)]
    for one, other in itertools.combinations(looks, 2):
        assert (one.marker, one.line) != (other.marker, other.line)


def test_heat_maps_shade_by_direction_and_make_nothing_of_noise():
    result = compared("had")
    metrics = [result.run.metrics[task][0] for task in ORDERS[0]]

    def matrix(*values):
        from orchestrator.display.summary import Spread

        return [[Spread(value, None, 1) for value in values]]

    shades = _shades(metrics, [matrix(0.8, 1.0, 30.0), matrix(0.4, 3.0, 30.3)])
    assert shades[0][0] == [1.0, 1.0, 1.0]
    assert shades[1][0][:2] == [0.0, 0.0]  # miou fell, the error grew
    assert shades[1][0][2] == pytest.approx(0.9)  # of 30 degrees a tenth is shown at least


@pytest.mark.parametrize("turned", [False, True])
def test_curves_do_not_magnify_noise(turned):
    from matplotlib.figure import Figure

    def limits(*values):
        axes = Figure().subplots()
        axes.plot(values)
        if turned:
            axes.invert_yaxis()
        _calm(axes)
        assert axes.yaxis_inverted() == turned
        return sorted(axes.get_ylim())

    low, high = limits(30.0, 30.1)
    assert high - low == pytest.approx(3.0, rel=0.02) and low < 30 < 30.1 < high
    assert limits(0.0, 1.0) == pytest.approx([-0.05, 1.05])


def test_there_is_nothing_to_draw_before_anything_is_scored():
    run = compared("had").run
    empty = [sequence(s.method, s.order, s.seed, stages=0) for s in run.sequences]
    report = made_up(CompareResult(replace(run, sequences=tuple(empty))))
    assert not forgetting_curves(report) and not r_maps(report) and order_spread(report) is None
