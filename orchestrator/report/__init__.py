"""What a run, comparison or sweep found, as one page: pure functions from values to a document.

::

    model.py    the values (app/book/reporting.py gathers them)
    tables.py   methods x metrics, orders, settings, cost
    figures/    curves, heat maps, orders, weights as SVG
    page.py     the HTML page; page.html.j2 its template
    formats.py  the result table as Markdown, LaTeX, Parquet

Equal values make equal bytes: no clock is read and nothing is random.
"""
