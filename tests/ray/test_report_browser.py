"""A report in a real browser: no error, no request but the file itself, and it can be read."""

from __future__ import annotations

import pytest
from made_up_report import made_up, made_up_sweep

from orchestrator.report.page import page


@pytest.mark.parametrize("make", [made_up, made_up_sweep])
def test_a_report_opens_without_errors_and_asks_for_nothing(chromium, tmp_path, make):
    report = make()
    file = tmp_path / "report.html"
    file.write_text(page(report))
    with chromium.visit(file) as seen:
        seen.page.wait_for_load_state("networkidle")
        assert (seen.errors, seen.requests) == ([], [file.as_uri()])
        heads = seen.page.get_by_role("heading", level=2).all_inner_texts()
        assert {"Results", "Forgetting", "Cost", "How it was made"} <= set(heads)
        best = seen.page.locator("#results strong").first
        assert best.is_visible() and best.inner_text().startswith("+22")
        drawn = "Array.from(document.images).map(i => [i.complete && i.naturalWidth > 0, i.alt])"
        pictures = seen.page.evaluate(drawn)
        assert len(pictures) > 5 and all(ok and alt for ok, alt in pictures)


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_page(chromium, tmp_path, width):
    """Wide tables scroll inside themselves."""
    file = tmp_path / "report.html"
    file.write_text(page(made_up()))
    with chromium.visit(file, width=width) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_people_want_it_dark_and_white_on_paper(chromium, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page(made_up()))
    paper = "getComputedStyle(document.body).backgroundColor"
    with chromium.visit(file) as seen:
        light = seen.page.evaluate(paper)
        seen.page.emulate_media(color_scheme="dark")
        dark = seen.page.evaluate(paper)
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert light == seen.page.evaluate(paper) == "rgb(255, 255, 255)" != dark
        assert not seen.page.locator("nav").is_visible()
