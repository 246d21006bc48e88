"""A server looks for the route of a path without variables once, and finds what is added later."""

from __future__ import annotations

from typing import Any

import pytest
import quart_trio
from werkzeug.routing import MapAdapter

from flash._quart import remember_routes


@pytest.fixture
def server() -> quart_trio.QuartTrio:
    made = quart_trio.QuartTrio(__name__)
    remember_routes(made)

    @made.get("/")
    async def read() -> str:
        return "read"

    @made.post("/")
    async def write() -> str:
        return "written"

    @made.get("/of/<name>")
    async def of(name: str) -> str:
        return f"of {name}"

    return made


async def answer(server: quart_trio.QuartTrio, path: str, method: str = "GET") -> str:
    open_path: Any = server.test_client().open
    response = await open_path(path, method=method)
    text = await response.get_data(as_text=True)
    return text if response.status_code == 200 else str(response.status_code)


async def test_a_path_is_looked_for_once_for_each_method(
    server: quart_trio.QuartTrio, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    search = MapAdapter.match

    def match(self: MapAdapter, *arguments: Any, **keywords: Any) -> Any:
        searched.append(f"{self.default_method} {self.path_info}")
        return search(self, *arguments, **keywords)

    monkeypatch.setattr(MapAdapter, "match", match)
    for _ in range(2):
        assert await answer(server, "/") == "read"
        assert await answer(server, "/", "POST") == "written"
    assert searched == ["GET /", "POST /"]


async def test_a_path_with_variables_has_those_of_each_request(server: quart_trio.QuartTrio) -> None:
    assert [await answer(server, f"/of/{name}") for name in ("a", "b", "a")] == ["of a", "of b", "of a"]


async def test_what_is_not_there_is_found_when_it_has_been_added(server: quart_trio.QuartTrio) -> None:
    assert await answer(server, "/late") == "404"
    assert await answer(server, "/", "PUT") == "405"

    async def late() -> str:
        return "late"

    # Quart refuses it once it has had a request.
    server._got_first_request = False
    server.add_url_rule("/late", view_func=late)
    assert await answer(server, "/late") == "late"
