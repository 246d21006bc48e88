"""The gallery's app: the tabs, the exchange that feeds one of them, and a count of the streams that are alive."""

from flash import Flash, Input, Output, callback

from . import live, table, wall, weather, words
from .layout import shell
from .stock_exchange import exchange

app = Flash(__name__, title="Flash gallery", update_title=None)
app.layout = shell(table.tab, live.tab, wall.tab, words.tab, weather.tab)
server = app.server

server.add_websocket(live.FEED, view_func=exchange.serve)


@server.before_serving
async def open_exchange() -> None:
    server.nursery.start_soon(exchange.trade)


@callback(
    Output("held", "children"),
    Output("held-name", "children"),
    Output("weather-held", "children"),
    Output("wall-audience", "children"),
    Input("clock", "n_intervals"),
)
async def count_streams(n_intervals: int):
    streams = app.streams()
    name = "stream held" if len(streams) == 1 else "streams held"
    return len(streams), name, weather.held(streams), wall.audience(streams)
