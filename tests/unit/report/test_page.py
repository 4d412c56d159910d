"""The page needs nothing else, hides nothing, and is the same for the same numbers."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_up_report import compared, made_up, made_up_sweep, sequence

from orchestrator.display.comparison import CompareResult
from orchestrator.report.model import Gallery
from orchestrator.report.page import lead, page


class Parsed(HTMLParser):
    """What a page refers to, its pictures, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses, self.pictures, self.ids, self.tags = [], [], [], []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("src", "href", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "img":
            self.pictures.append(given)

    def handle_data(self, data):
        self.text += f" {data}"


@pytest.fixture(scope="module")
def html():
    return page(made_up())


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that look at words alone."""
    for name, nothing in {"forgetting_curves": [], "r_maps": [], "order_spread": None}.items():
        monkeypatch.setattr(f"orchestrator.report.page.{name}", lambda _, nothing=nothing: nothing)


@pytest.fixture
def unsaved(monkeypatch):
    """For tests that look at which figures there are; laying one out takes most of its time."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda self, target, **how: target.write(b"<svg/>"))


@pytest.fixture(scope="module")
def swept():
    return page(made_up_sweep())


def test_nothing_is_asked_of_the_network(html, swept):
    for text in (html, swept):
        seen = Parsed(text)
        assert all(address.startswith(("data:", "#")) for address in seen.addresses)
        assert "script" not in seen.tags
        assert "@import" not in text and "url(" not in text


def test_every_link_leads_somewhere_and_every_picture_has_words(html, swept):
    for text in (html, swept):
        seen = Parsed(text)
        anchors = {address[1:] for address in seen.addresses if address.startswith("#")}
        assert anchors <= set(seen.ids) and len(seen.ids) == len(set(seen.ids))
        assert len(seen.pictures) > 5
        assert all(picture.get("alt") for picture in seen.pictures)


SVG = "data:image/svg+xml;base64,"


def drawn(html):
    """The words of every figure, which is an SVG and says how to read it."""
    assert "<figcaption></figcaption>" not in html
    shown = [each for each in Parsed(html).pictures if each["src"].startswith(SVG)]
    for each in shown:
        assert ET.fromstring(base64.b64decode(each["src"].removeprefix(SVG))).tag.endswith("svg")
    return [each["alt"] for each in shown]


def test_the_words_of_a_figure_hold_its_numbers(html, swept):
    (spread, _, *maps), words = drawn(html), " ".join(drawn(swept))
    assert "had from +20.5 % to +24.5 %" in spread and "joint" not in spread
    assert "naive: at the end semantic 0.204, depth 2.475, normal 1.250;" in maps[0]
    assert "lambda 0.70" in words
    assert "The best one, t0004, has lambda 8" in words


def test_equal_reports_give_equal_pages(swept):
    """The figures of a sweep are one of every kind."""
    assert page(made_up_sweep()) == swept


@pytest.mark.usefixtures("undrawn")
def test_other_reports_give_other_pages():
    assert page(made_up()) == page(made_up())
    assert page(made_up(ended="2026-01-02")) != page(made_up())


def test_it_says_what_came_out(html, swept):
    assert "Best Δm against naive: had, +22.5 ± 2.4 %." in Parsed(html).text
    assert "<strong>+22.5 ± 2.4</strong>" in html and "(joint)" in html
    assert "Best setting: lambda 8, beta 0.4 (mean Δm +4.0 % on the validation part)." in swept
    assert "optimistic" in swept and "optimistic" not in html


def test_cost_is_told_by_processor(html):
    text = " ".join(Parsed(html).text.split())
    assert "stages wanted, sequence by sequence 24 shared between sequences 6 (25 %)" in text
    assert "trained by this run 15 reused, trained by other runs 3" in text
    assert "CPU (workers x threads) 1:30:00 h 15:00 min 2:30:00 h 1:00:00 h" in text
    assert "GPU (Some GPU) 30:00 min 0.0 s 30:00 min 0.0 s" in text


@pytest.mark.usefixtures("undrawn")
def test_what_people_wrote_is_text_and_no_markup():
    evil = '<script>alert("x")</script>'
    found = page(made_up(name=evil, recipe=evil, troubles=(evil,), gallery=Gallery()))
    assert "<script" not in found and "&lt;script&gt;" in found


@pytest.mark.usefixtures("undrawn")
def test_troubles_come_first_and_missing_pictures_are_said(html):
    found = page(made_up(troubles=("Trial t0003 failed: the loss is not finite",)))
    before, _, after = found.partition("Trial t0003 failed: the loss is not finite")
    assert "What to know first" in before and "<h2>Results" in after
    assert "What to know first" not in html
    assert "missing" in html and "Pictures of 1 stages are not in the store." in html


@pytest.mark.usefixtures("unsaved")
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_unfinished_runs_have_a_page(stages):
    run = compared("had").run
    begun = [sequence(s.method, s.order, s.seed, stages=stages) for s in run.sequences]
    found = page(made_up(CompareResult(replace(run, sequences=tuple(begun))), gallery=Gallery()))
    assert "naive: 0 of 4 sequences are complete; it cannot be best" in found
    assert ("R: every task" in found) == (stages > 0)


@pytest.mark.usefixtures("unsaved")
def test_a_single_run_without_reference_has_a_page():
    run = compared("had").run
    alone = [s for s in run.sequences if s.method == "had"][:1]
    report = made_up(
        CompareResult(
            replace(run, reference=None, sequences=(replace(alone[0], delta_m_pct=None),))
        ),
        kind="run",
    )
    assert lead(report) == ""
    text = Parsed(page(report)).text
    assert "Δm" not in text and "semantic" in text


@pytest.mark.usefixtures("undrawn")
def test_a_sweep_without_a_complete_trial_has_a_page():
    found = Parsed(page(made_up_sweep(0))).text
    assert "Best setting" not in found and "Results" in found


def test_the_first_sentence_of_a_sweep_is_about_its_best_settings():
    known = made_up_sweep()
    result = known.sweep.result

    def said(**changes):
        return lead(replace(known, sweep=replace(known.sweep, result=replace(result, **changes))))

    assert said().startswith("Best setting: lambda 8, beta 0.4 (mean Δm +4.0 %")
    two = said(best=("t0004", "t0001"))
    assert two.startswith("No other setting beats these 2 in both; the first: lambda 8")
    bad = tuple(replace(trial, values=(-1.0,)) for trial in result.trials)
    assert said(trials=bad).startswith("No setting beats naive; the best is lambda 8")


def test_no_method_beats_the_reference():
    run = compared("lwf").run
    worse = [replace(s, delta_m_pct=-5.0) if s.delta_m_pct else s for s in run.sequences]
    report = made_up(CompareResult(replace(run, sequences=tuple(worse))))
    assert lead(report) == "No method beats naive."
