"""A page's end of its control websocket."""

from __future__ import annotations

import json
from typing import Any

import trio

from tests.http.pages import Page
from tests.support.eventually import TIMEOUT
from tests.websocket.sockets import Connect, Socket


class Control:
    """A page's end of its control websocket."""

    def __init__(self, page: Page, socket: Socket) -> None:
        self.page = page
        self.socket = socket
        self.count = 0

    async def tell(self, to: str, body: Any, **headers: str) -> tuple[int, str]:
        """Send a message; return the status and the text of its answer."""
        await self.send(to, body, **headers)
        with trio.fail_after(TIMEOUT):
            answer = json.loads(await self.socket.raw.get_message())
        assert answer["id"] == self.count
        return answer["status"], answer["text"]

    async def send(self, to: str, body: Any, **headers: str) -> None:
        self.count += 1
        text = body if isinstance(body, str) else json.dumps({"page": self.page.token, **body})
        await self.socket.say(
            id=self.count, to=to, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=text
        )


async def open_control(connect: Connect, page: Page) -> Control:
    return Control(page, await connect(page, path="_flash/control"))
