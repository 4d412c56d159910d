"""The result table of a report as Markdown, LaTeX and Parquet."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from orchestrator.report.model import Report
from orchestrator.report.parts import groups, parts
from orchestrator.report.tables import Cell, Table, result_table

_MOST_COLUMNS = 5  # of a LaTeX table
_LONG_HEAD = 14  # letters
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
}


def render(report: Report, to: str) -> bytes:
    """As html (the whole page), or as md, latex or parquet (its result table)."""
    if to == "html":
        from orchestrator.report.page import page

        return page(report).encode()
    if to == "md":
        return markdown(report).encode()
    if to == "latex":
        return latex(report).encode()
    return parquet(report)


def _notes(report: Report) -> list[str]:
    from orchestrator.display.compare_tables import legend
    from orchestrator.display.tables import caveats

    told = [text.plain for text in (*legend(report.result), *caveats(report.result.run))]
    on = "the validation part" if report.split == "val" else "the test set"
    return [f"scored on {on}", *told, *report.troubles]


# Markdown ---------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    table = result_table(report.result)
    heads = [table.corner, *(f"{c.group} {c.title}".strip() for c in table.columns)]
    lines = [_line(heads), "|---" + "|---:" * len(table.columns) + "|"]
    for row in table.rows:
        cells = [f"**{cell.text}**" if cell.best else cell.text for cell in row.cells]
        lines.append(_line([row.title, *cells]))
    notes = [f"- {_plain(note)}" for note in _notes(report)]
    return "\n".join([f"# {_plain(report.name)}", "", *lines, "", *notes, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """On one line, without what Markdown or HTML would take for its own."""
    return " ".join(text.split()).replace("<", "&lt;").replace("_", "\\_")


# LaTeX ------------------------------------------------------------------------------------------


def latex(report: Report) -> str:
    """Tabulars below each other, methods in rows; to be read in with ``\\input``.

    The packages booktabs and graphicx are needed: what is wider than the text is made smaller.
    """
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        *(f"% {' '.join(note.split())}" for note in _notes(report)),
    ]
    for part in parts(result_table(report.result), _MOST_COLUMNS):
        lines += [f"% {part.caption}", *_tabular(part), ""]
    return "\n".join(lines)


def _tabular(table: Table) -> list[str]:
    """One line of text to LaTeX: an empty line ends it."""
    rows = [_row([escaped(row.title), *map(_cell, row.cells)]) for row in table.rows]
    return [
        "\\par\\noindent\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        "\\toprule",
        *_heads(table),
        "\\midrule",
        *rows,
        "\\bottomrule",
        "\\end{tabular}}\\par\\medskip",
    ]


def _heads(table: Table) -> list[str]:
    """Tasks over their metrics."""
    above, rules, column = [""], [], 2
    for name, count in groups(table.columns):
        above.append(f"\\multicolumn{{{count}}}{{c}}{{{escaped(name)}}}")
        rules.append(f"\\cmidrule(lr){{{column}-{column + count - 1}}}")
        column += count
    heads = _row([escaped(table.corner), *(_head(c.title) for c in table.columns)])
    return [_row(above), " ".join(rules), heads] if table.columns[0].group else [heads]


def _head(title: str) -> str:
    """On two lines where it is long: a column is as wide as its numbers."""
    if len(title) <= _LONG_HEAD:
        return escaped(title)
    spaces = [k for k, letter in enumerate(title) if letter == " "]
    if not spaces:
        return escaped(title)
    middle = min(spaces, key=lambda k: abs(2 * k - len(title)))
    return f"\\shortstack[r]{{{escaped(title[:middle])}\\\\{escaped(title[middle + 1 :])}}}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    text = _MINUS.sub("$-$", escaped(cell.text))
    return f"\\textbf{{{text}}}" if cell.best else text


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


# Parquet ----------------------------------------------------------------------------------------


_FIELDS = {
    "run": "string",
    "split": "string",
    "method": "string",
    "bound": "bool",
    "task": "string",
    "metric": "string",
    "unit": "string",
    "direction": "string",
    "mean": "float64",
    "std": "float64",
    "count": "int64",
    "complete": "int64",
    "sequences": "int64",
    "best": "bool",
}


def parquet(report: Report) -> bytes:
    """The same table, a row for every method and metric: mean, std and what they are over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = result_table(report.result)
    counts = {s.method: (s.complete, s.sequences) for s in report.result.methods}
    rows = [
        {
            "run": report.name,
            "split": report.split,
            "method": row.name,
            "bound": row.bound,
            "task": column.group or None,
            "metric": column.key or column.name,
            "unit": column.unit or None,
            "direction": column.direction.value if column.direction else None,
            "mean": cell.spread.mean if cell.spread else None,
            "std": cell.spread.std if cell.spread else None,
            "count": cell.spread.count if cell.spread else 0,
            "complete": counts[row.name][0],
            "sequences": counts[row.name][1],
            "best": cell.best,
        }
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    target = io.BytesIO()
    schema = pa.schema({name: pa.type_for_alias(kind) for name, kind in _FIELDS.items()})
    pq.write_table(pa.Table.from_pylist(rows, schema), target, compression="zstd")
    return target.getvalue()
