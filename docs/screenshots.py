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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import Chromium, open_chromium  # noqa: E402
from mlflow_pages import Pages, served  # noqa: E402

from orchestrator.app.book.report_file import write_report  # noqa: E402

MOST_BYTES = 300_000
COLOURS = 256  # of a picture's palette
_MARGIN = 16  # pixels


def report_page(chromium: Chromium, store: str, run: str) -> bytes:
    """The top of ``had report``: results, order sensitivity, weights found."""
    with _report(chromium, store, run) as page:
        end = page.locator("#settings, #orders").last
        return _clip(page, page.locator("body"), end)


def report_curves(chromium: Chromium, store: str, run: str) -> bytes:
    """Forgetting curves and the first heat map of the same page."""
    with _report(chromium, store, run) as page:
        return _clip(page, page.locator("#forgetting"), page.locator("#r figure").first)


@contextmanager
def _report(chromium: Chromium, store: str, run: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        write_report(run, store, file, None)
        with chromium.visit(file, width=1060, height=1900) as seen:
            yield seen.page


def _clip(page: Any, first: Any, last: Any) -> bytes:
    """The page from the top of an element to the bottom of another."""
    top, bottom = first.bounding_box(), last.bounding_box()
    height = bottom["y"] + bottom["height"] + _MARGIN - top["y"]
    size = {"x": 0, "y": top["y"], "width": page.viewport_size["width"], "height": height}
    return bytes(page.screenshot(full_page=True, clip=size))


def mlflow_runs(chromium: Chromium, store: str, run: str) -> bytes:
    """The first trial in MLflow, unfolded down to its stages."""
    with served(store) as pages:
        sequence = _sequence(pages, run)
        trials = pages.found(kind="trial", run_name=run, trial=sequence.data.tags["had.trial"])
        experiment, search = sequence.info.experiment_id, "tags.`had.trial` = 't0000'"
        with pages.runs(chromium, experiment, search, height=640) as page:
            pages.unfold(page, run, trials[0].info.run_name, sequence.info.run_name)
            page.get_by_role("link", name="3 ").first.wait_for()
            return bytes(page.screenshot())


def mlflow_curves(chromium: Chromium, store: str, run: str) -> bytes:
    """A sequence in MLflow: losses and forgetting over its global epochs."""
    with served(store) as pages:
        with pages.run(chromium, _sequence(pages, run), "model-metrics", height=1580) as page:
            pages.curve(page, "train/total")
            page.get_by_placeholder("Search metric charts").fill("train/db|train/new|val/depth")
            page.wait_for_timeout(6000)
            return bytes(page.screenshot())


def mlflow_predictions(chromium: Chromium, store: str, run: str) -> bytes:
    """A sequence's table of predictions in MLflow."""
    with served(store) as pages:
        with pages.run(chromium, _sequence(pages, run), "artifacts", width=1580) as page:
            page.get_by_text("predictions.json", exact=True).click()
            page.get_by_role("cell").locator("img").first.wait_for()
            page.wait_for_timeout(3000)
            return _without_path(page)


def mlflow_matrix(chromium: Chromium, store: str, run: str) -> bytes:
    """A sequence's heat map of R in MLflow."""
    with served(store) as pages:
        with pages.run(chromium, _sequence(pages, run), "artifacts", height=560) as page:
            pages.look(page, "R.svg")
            return _without_path(page)


def mlflow_model(chromium: Chromium, store: str, run: str) -> bytes:
    """The model of a sequence's last stage in MLflow."""
    with served(store) as pages:
        sequence = _sequence(pages, run).data.tags["had.sequence"]
        stages = pages.found(kind="stage", run_name=run, sequence=sequence, reused="false")
        with pages.model(chromium, stages[-1]) as page:
            page.get_by_text("had export").first.wait_for()
            return bytes(page.screenshot())


def _without_path(page: Any) -> bytes:
    """Where the artifact lies on this machine is nobody's business."""
    page.get_by_text("Path:").first.evaluate("line => { line.style.visibility = 'hidden' }")
    return bytes(page.screenshot())


def _sequence(pages: Pages, run: str) -> Any:
    """The first one of the sweep's method that trained something itself."""
    return pages.found(kind="sequence", run_name=run, method="had", trial="t0000")[0]


PICTURES: Mapping[str, Callable[[Chromium, str, str], bytes]] = {
    "report.png": report_page,
    "report-forgetting.png": report_curves,
    "mlflow-runs.png": mlflow_runs,
    "mlflow-curves.png": mlflow_curves,
    "mlflow-matrix.png": mlflow_matrix,
    "mlflow-predictions.png": mlflow_predictions,
    "mlflow-model.png": mlflow_model,
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
