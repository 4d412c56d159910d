"""MLflow's pages over a store, as a person opens them: for browser tests and docs/screenshots.py.

    with served(store) as pages, pages.runs(chromium) as page:
        pages.unfold(page, "my-sweep")

The server is slow beside other load, so everything waits for what it wants to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from browser import Chromium

from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.ui import start

_TRAINING = "workflowType=machine_learning"  # instead of agents and prompts
_NAME = "a[href*='/runs/']"
_INDENT = 24  # pixels
_UNFOLD = "button[data-component-id*='runnamecellrenderer']"


@contextmanager
def served(store: str | Path) -> Iterator[Pages]:
    """The server that ``had ui`` starts, on a free port."""
    location = TrackingLocation.of(store)
    with start(location, port=0) as server:
        yield Pages(server.url, location.client())


@dataclass
class Pages:
    """Addresses of a server, and what lies behind them."""

    url: str
    client: Any

    def found(self, **tags: str) -> list[Any]:
        """Runs by their ``had.`` tags, as they began."""
        every = [each.experiment_id for each in self.client.search_experiments()]
        where = " AND ".join(f"tags.`had.{name}` = '{value}'" for name, value in tags.items())
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs(every, filter_string=where, order_by=order))

    @contextmanager
    def runs(
        self, chromium: Chromium, experiment: str, search: str = "", **size: int
    ) -> Iterator[Any]:
        """The table of runs."""
        options = {"searchFilter": search, "orderByKey": "attributes.start_time"}
        words = "&".join(f"{name}={quote(value)}" for name, value in options.items() if value)
        place = f"/#/experiments/{experiment}/runs?{_TRAINING}&orderByAsc=true&{words}"
        with self._open(chromium, place, ".ag-row", **size) as page:
            yield page

    @contextmanager
    def run(self, chromium: Chromium, run: Any, tab: str = "", **size: int) -> Iterator[Any]:
        """A run's page.

        Args:
            tab: ``model-metrics``, ``system-metrics``, ``artifacts`` or its overview.
        """
        place = f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        name = f"text={run.info.run_name}"
        with self._open(chromium, f"{place}/{tab}?{_TRAINING}", name, **size) as page:
            yield page

    @contextmanager
    def model(self, chromium: Chromium, run: Any) -> Iterator[Any]:
        """The page of the model that a stage's run made."""
        model = run.data.tags["had.model_id"]
        place = f"/#/experiments/{run.info.experiment_id}/models/{model}?{_TRAINING}"
        with self._open(chromium, place, f"text={model}") as page:
            yield page

    def unfold(self, page: Any, *names: str) -> None:
        """Open the rows of these runs, each of which shows the next."""
        for name in names:
            row = page.locator(".ag-row", has=page.get_by_role("link", name=name, exact=True))
            row.locator(_UNFOLD).first.click()

    @staticmethod
    def levels(page: Any) -> Mapping[str, int]:
        """Name -> depth of the runs that are shown."""
        script = """links => links.map(
            link => [link.textContent.trim(), link.getBoundingClientRect().left])"""
        found = page.locator(f".ag-row {_NAME}").evaluate_all(script)
        left = min(place for _, place in found)
        return {name: round((place - left) / _INDENT) for name, place in found}

    @staticmethod
    def curve(page: Any, metric: str) -> int:
        """How many points the curve of a metric shows, once it is drawn."""
        page.get_by_placeholder("Search metric charts").fill(metric)
        legend = f"({metric})"
        chart = page.locator("[data-testid='experiment-view-compare-runs-card']", has_text=legend)
        traces = chart.first.locator(".js-plotly-plot .scatterlayer .trace")
        traces.first.wait_for(state="attached")
        return sum(trace.locator(".point").count() for trace in traces.all())

    @staticmethod
    def look(page: Any, *path: str) -> Any:
        """Click through artifacts to a picture, and wait until it is there."""
        for name in path:
            page.get_by_text(name, exact=True).first.click()
        picture = page.locator("img[src^='blob:']").first
        picture.wait_for()
        return picture

    @contextmanager
    def _open(
        self, chromium: Chromium, place: str, sight: str, width: int = 1500, height: int = 1000
    ) -> Iterator[Any]:
        with chromium.visit(f"{self.url}{place}", width=width, height=height) as seen:
            page = seen.page
            page.locator(sight).first.wait_for()
            assistant = page.get_by_role("button", name="Close", exact=True)
            if assistant.count():
                assistant.first.click()
            yield page
