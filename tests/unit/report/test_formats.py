"""The result table in other formats: the same numbers, nothing that breaks the format."""

from __future__ import annotations

import io
import re

import pyarrow.parquet as pq
import pytest
from made_up_report import made_up

from orchestrator.report.formats import escaped, latex, markdown, parquet, render


def test_markdown_has_the_best_bold_and_as_many_cells_in_every_line():
    text = markdown(made_up(name="a_b<c"))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert len(cells) == 1 and len(lines) == 2 + 4
    assert "**+22.5 ± 2.4**" in text and "| (joint) |" in text
    assert text.splitlines()[0] == "# a\\_b&lt;c"
    assert "- scored on the test set" in text


def test_latex_is_tables_of_booktabs_with_everything_escaped():
    text = latex(made_up())
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr)"):
        assert rule in body
    assert r"\textbf{+22.5 $\pm$ 2.4}" in body and r"abs\_err m $\downarrow$" in body
    assert r"$-$9.5" in body  # backward transfer
    assert body.count("{") == body.count("}")
    assert not re.search(r"(?<!\\)[%#&](?!$|[^\n]*\\\\)", body, re.MULTILINE)
    assert body.isascii()


def test_latex_fits_the_width_of_a_text():
    text = latex(made_up())
    packages = text.splitlines()[0]
    assert "{booktabs}" in packages and "{graphicx}" in packages
    tabulars = re.findall(r"\\begin\{tabular\}\{@\{\}(l?r+)@\{\}\}(.*?)\\end", text, re.DOTALL)
    assert len(tabulars) == text.count(r"\resizebox{\ifdim\width>\linewidth") >= 3
    for columns, body in tabulars:
        assert len(columns) <= 7  # the summary's are narrow, a task's metrics stay together
        for line in body.splitlines():
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.split(r"(?<!\\)&", line)) == len(columns)
    assert r"\shortstack[r]{backward\\transfer \% $\uparrow$}" in text


@pytest.mark.parametrize("letter", list("\\&%$#_{}~^|<>±Δ↑↓→"))
def test_every_special_letter_is_escaped(letter):
    found = escaped(f"a{letter}b")
    assert found.startswith("a") and found.endswith("b") and found != f"a{letter}b"
    assert found.isascii()


def test_parquet_holds_the_numbers_themselves():
    rows = pq.read_table(io.BytesIO(parquet(made_up()))).to_pylist()
    (had,) = (r for r in rows if r["method"] == "had" and r["metric"] == "delta_m_pct")
    assert had["mean"] == pytest.approx(22.5) and had["count"] == had["sequences"] == 4
    assert had["best"] and had["direction"] == "up" and had["task"] is None
    (miou,) = (r for r in rows if r["method"] == "joint" and r["metric"] == "miou")
    assert miou["bound"] and not miou["best"] and miou["task"] == "semantic"
    assert miou["std"] == 0


@pytest.mark.parametrize("to", ["md", "latex", "parquet"])
def test_equal_reports_give_equal_bytes(to):
    assert render(made_up(), to) == render(made_up(), to)
