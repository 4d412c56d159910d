"""Fail when a test was skipped for a reason that is not excused.

A skip hides a test that proves nothing. Excused are only tests that read ``../shared`` on a machine
that does not have it; tests marked ``gpu`` are deselected before they can skip.

Usage: check_skips.py REPORTS_DIR TIER...     (reads REPORTS_DIR/TIER.xml, JUnit)
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"


def skips(report: Path) -> list[tuple[str, str]]:
    """(test, reason) of every skipped test of one report."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        for skipped in case.iter("skipped"):
            reason = skipped.get("message") or (skipped.text or "").strip()
            found.append((f"{case.get('classname')}::{case.get('name')}", reason))
    return found


def unexcused(found: list[tuple[str, str]], *, shared_present: bool) -> list[tuple[str, str]]:
    """The skips that must fail the run."""
    return [(test, why) for test, why in found if shared_present or "../shared" not in why]


def main(folder: str, *tiers: str) -> int:
    reports = [Path(folder) / f"{tier}.xml" for tier in tiers]
    missing = [report.stem for report in reports if not report.is_file()]
    if missing:
        print(f"check_skips: no report of {', '.join(missing)}: these tests did not end")
        return 1
    found = [skip for report in reports for skip in skips(report)]
    bad = unexcused(found, shared_present=SHARED.is_dir())
    for test, why in bad:
        print(f"check_skips: {test} was skipped: {why}")
    print(f"check_skips: {len(found)} skipped, {len(bad)} of them not excused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
