"""The bodies of callback requests: JSON, packed or not; and what the page is told of the channels that it may open."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import httpx
import pytest

from flash.asgi import client_json
from tests.http.apps import answering_app
from tests.http.pages import Page
from tests.http.servers import Serve


async def post(page: Page, data: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return await page.client.post("/_dash-update-component", content=data, headers=headers)


async def test_a_packed_body_is_unpacked(serve: Serve) -> None:
    page = await (await serve(answering_app())).page()
    answer = await post(page, gzip.compress(json.dumps(page.request("go", value=7)).encode()))
    assert answer.status_code == 200
    assert answer.json()["response"] == {"out": {"children": 7}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        gzip.compress(b"{}")[:-4],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"[]"),
        gzip.compress(b"\xff"),
        gzip.compress(b"[" * 100_000),
    ],
    # Their bytes say when they were packed, and the name of a test is to stay.
    ids=["empty", "unpacked", "cut", "more behind it", "a list", "no JSON", "too deep"],
)
async def test_a_packed_body_that_is_malformed_is_refused(serve: Serve, data: bytes) -> None:
    page = await (await serve(answering_app())).page()
    answer = await post(page, data)
    assert answer.status_code == 400
    assert answer.text == "A callback request is a JSON object."


async def test_what_unpacks_to_too_much_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_json, "MAX_UNPACKED", 10_000)
    page = await (await serve(answering_app())).page()
    answer = await post(page, gzip.compress(b" " * 10_001))
    assert answer.status_code == 413
    assert "10000 bytes" in answer.text


async def test_the_page_is_not_told_of_a_channel_that_is_not_served(serve: Serve) -> None:
    page = await (await serve(answering_app())).page()
    index = (await page.get("")).text
    config: dict[str, Any] = json.loads(re.findall(r'_dash-config".*?>(.*?)</script>', index)[0])
    assert config.get("stream", {"enabled": False}) == {"enabled": False}
