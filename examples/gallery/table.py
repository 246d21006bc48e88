"""A table that fills while it loads, as row transactions of the grid, by a job that survives a reload of the page."""

from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
import trio
from plotly.data import gapminder

from flash import Input, Output, Update, event_callback, html, stream_props

from .layout import Tab, badge, readout

ROWS = gapminder()[["country", "continent", "year", "lifeExp", "pop", "gdpPercap"]].to_dict("records")
CHUNK = 24
WHOLE = 6
"""After so many chunks all rows go as one value: a page that joins late is given that and the few chunks since."""


def number(format: str) -> dict[str, Any]:
    """A column of right-aligned figures, in d3's notation of formats."""
    return {"type": "rightAligned", "valueFormatter": {"function": f"d3.format('{format}')(params.value)"}}


COLUMNS = [
    {"field": "country", "headerName": "Country", "flex": 1.7, "filter": True},
    {"field": "continent", "headerName": "Continent", "flex": 1.2, "filter": True},
    {"field": "year", "headerName": "Year", "flex": 0.8, "type": "rightAligned"},
    {"field": "lifeExp", "headerName": "Life expectancy", "sort": "desc", "flex": 1.55, **number(".1f")},
    {"field": "pop", "headerName": "Population", **number(",")},
    {"field": "gdpPercap", "headerName": "GDP per head, $", "flex": 1.4, **number(",.0f")},
]


@event_callback(
    Input("table-load", "n_clicks"),
    shared="browser",
    linger=60,
    resume=True,
    cancel=[Input("table-cancel", "n_clicks")],
    running=[
        (Output("table-load", "disabled"), True, False),
        (Output("table-cancel", "disabled"), False, True),
    ],
    reset_props=[
        ("table-grid", {"rowData": []}),
        ("table-progress", {"value": 0}),
        ("table-rows", {"children": "0"}),
        ("table-countries", {"children": "0"}),
    ],
)
async def load(n_clicks: int):
    yield notice(f"{len(ROWS):,} rows are on their way, {CHUNK} at a time.")
    yield stream_props("table-grid", {"columnDefs": COLUMNS})
    countries = set()
    for count, start in enumerate(range(0, len(ROWS), CHUNK)):
        await trio.sleep(0.12)  # where a real app would await its database
        rows = ROWS[start : start + CHUNK]
        countries.update(row["country"] for row in rows)
        done = start + len(rows)
        is_whole = count % WHOLE == 0 or done == len(ROWS)
        grid = {"rowData": ROWS[:done]} if is_whole else {"rowTransaction": {"add": rows, "async": False}}
        yield stream_props(
            [
                ("table-grid", grid),
                ("table-progress", {"value": 100 * done / len(ROWS)}),
                ("table-rows", {"children": f"{done:,}"}),
                ("table-countries", {"children": len(countries)}),
            ]
        )


def notice(message: str) -> Update:
    notification = {"action": "show", "title": "Gapminder", "message": message, "autoClose": 4000}
    return stream_props("notices", {"sendNotifications": [notification]})


tab = Tab(
    value="table",
    label="Table",
    title="A table that fills while it loads",
    lead="Rows appear as the server reads them. Reload the page, and the job has gone on. Cancel ends it in all tabs.",
    streams=[load.stream],
    source=__file__,
    body=[
        html.Div(
            [
                dmc.Button("Load the table", id="table-load"),
                dmc.Button("Cancel", id="table-cancel", variant="default", disabled=True),
                badge("table-status", load.stream),
                dmc.Progress(id="table-progress", value=0, size="sm", className="grow"),
                readout("table-rows", "rows"),
                readout("table-countries", "countries"),
            ],
            className="bar",
        ),
        dag.AgGrid(
            id="table-grid",
            columnDefs=COLUMNS,
            rowData=[],
            getRowId="params.data.country + params.data.year",
            defaultColDef={"flex": 1},
            dashGridOptions={"rowHeight": 36, "headerHeight": 40},
            className="ag-theme-quartz card grow",
            style={"height": None},
        ),
    ],
)
