"""Write the pictures of docs/images that show pages, as a browser shows them.

    python docs/screenshots.py --store had-store --run NAME

NAME is a run, comparison or sweep of the store; ``make screenshots`` takes the quickstart's sweep.
Needs the system's Chromium and ``pip install -e .[dev]``. A picture is one function of ``PICTURES``.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import Chromium, open_chromium  # noqa: E402

from orchestrator.app.book.report_file import write_report  # noqa: E402

MOST_BYTES = 300_000
COLOURS = 256  # of a picture's palette


def report_page(chromium: Chromium, store: str, run: str) -> bytes:
    """The top of ``had report``: results, order sensitivity, weights found."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        write_report(run, store, file, None)
        with chromium.visit(file, width=1160, height=1900) as seen:
            return bytes(seen.page.screenshot())


def report_curves(chromium: Chromium, store: str, run: str) -> bytes:
    """Forgetting curves and heat maps of the same page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        write_report(run, store, file, None)
        with chromium.visit(file, width=1160, height=1900) as seen:
            seen.page.evaluate("document.querySelector('#forgetting').scrollIntoView()")
            return bytes(seen.page.screenshot())


PICTURES: Mapping[str, Callable[[Chromium, str, str], bytes]] = {
    "report.png": report_page,
    "report-forgetting.png": report_curves,
}


def small(raw: bytes) -> bytes:
    """The same picture, with a palette where that is needed.

    Raises ValueError where it is still too large.
    """
    picture = Image.open(io.BytesIO(raw)).convert("RGB")
    for shown in (picture, picture.quantize(COLOURS, dither=Image.Dither.NONE)):
        target = io.BytesIO()
        shown.save(target, "PNG", optimize=True)
        if target.tell() <= MOST_BYTES:
            return target.getvalue()
    raise ValueError(f"{target.tell()} bytes are more than {MOST_BYTES}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="had-store", help="folder of the store")
    parser.add_argument("--run", required=True, help="a run, comparison or sweep in it")
    parser.add_argument("--only", choices=PICTURES, help="write this picture alone")
    given = parser.parse_args()
    store = str(Path(given.store).absolute())
    with open_chromium() as chromium:
        for name, take in PICTURES.items():
            if given.only in (None, name):
                raw = small(take(chromium, store, given.run))
                (ROOT / "docs" / "images" / name).write_bytes(raw)
                print(f"docs/images/{name}: {len(raw)} bytes")


if __name__ == "__main__":
    main()
