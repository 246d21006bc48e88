"""A Content-Security-Policy that allows no inline script but those of `app.csp_hashes()`: everything still works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quart import Response

from flash import Flash, Input, Output, Update, html, stream_props


def test_an_app_works_under_a_strict_content_security_policy(dash_duo: Any) -> None:
    app = Flash(__name__, compress=True, url_base_pathname="/app/")
    app.layout = [html.Button(id="go"), *(html.P(id=name) for name in ("plain", "inline", "stream"))]

    @app.callback(Output("plain", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def plain(clicks: int) -> int:
        return clicks

    app.clientside_callback(
        "clicks => `inline ${clicks}`", Output("inline", "children"), Input("go", "n_clicks"), prevent_initial_call=True
    )

    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("stream", {"children": f"streamed {clicks}"})

    policy = f"default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' {' '.join(app.csp_hashes())}"

    @app.server.after_request
    def secure(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        return response

    dash_duo.start_server(app, navigate=False, start_timeout=30)
    dash_duo.server_url = f"{dash_duo.server.url}/app/"
    dash_duo.find_element("#go").click()
    dash_duo.wait_for_text_to_equal("#plain", "1")
    dash_duo.wait_for_text_to_equal("#inline", "inline 1")
    dash_duo.wait_for_text_to_equal("#stream", "streamed 1")
    assert dash_duo.get_logs() == []
