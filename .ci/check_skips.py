"""Fail when a test was skipped for a reason that is not excused.

A skip hides a test that proves nothing. Excused are only tests that read ``../shared`` or need a
browser, on a machine without it; tests marked ``gpu`` are deselected before they can skip.

Usage: check_skips.py REPORTS_DIR TIER...     (reads REPORTS_DIR/TIER.xml, JUnit)
"""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def skips(report: Path) -> list[tuple[str, str]]:
    """(test, reason) of every skipped test of one report."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        for skipped in case.iter("skipped"):
            reason = skipped.get("message") or (skipped.text or "").strip()
            found.append((f"{case.get('classname')}::{case.get('name')}", reason))
    return found


def unexcused(found: list[tuple[str, str]], absent: list[str]) -> list[tuple[str, str]]:
    """The skips that must fail the run.

    Args:
        absent: what the reason of an excused skip names.
    """
    return [(test, why) for test, why in found if not any(what in why for what in absent)]


def absent_here() -> list[str]:
    """What this machine does not have, as reasons name it."""
    absent = [] if SHARED.is_dir() else ["../shared"]
    if not any(map(shutil.which, BROWSERS)):
        absent.append("no browser is installed")
    return absent


def main(folder: str, *tiers: str) -> int:
    reports = [Path(folder) / f"{tier}.xml" for tier in tiers]
    missing = [report.stem for report in reports if not report.is_file()]
    if missing:
        print(f"check_skips: no report of {', '.join(missing)}: these tests did not end")
        return 1
    found = [skip for report in reports for skip in skips(report)]
    bad = unexcused(found, absent_here())
    for test, why in bad:
        print(f"check_skips: {test} was skipped: {why}")
    print(f"check_skips: {len(found)} skipped, {len(bad)} of them not excused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
