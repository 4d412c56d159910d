"""What the tests see of a page: its errors and every request."""

from __future__ import annotations


def test_errors_and_requests_of_a_page_are_seen(chromium, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><title>x</title><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>"
        "<img src='missing.png'><script>console.error('said'); null.thrown</script>"
    )
    with chromium.visit(page) as seen:
        assert seen.page.title() == "x"
        assert seen.requests == [page.as_uri(), (tmp_path / "missing.png").as_uri()]
        assert any("said" in error for error in seen.errors)
        assert any("null" in error for error in seen.errors)
