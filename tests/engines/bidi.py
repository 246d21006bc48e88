"""Drives Firefox by WebDriver BiDi, which Firefox itself answers, over a websocket.

Firefox has no driver in Debian that answers the HTTP requests of `webdriver.py`. And what it offers in their place,
Marionette, registers `unload` listeners in the pages in which it runs a script: those never get into the back/forward
cache.
"""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Ping, Request, TextMessage

from tests.engines.tabs import ANSWER_TIMEOUT, DriverError


class BiDi:
    """A session with a browser that listens on a port of 127.0.0.1: https://www.w3.org/TR/webdriver-bidi/"""

    def __init__(self, port: int) -> None:
        self._socket = _WebSocket(port, "/session")
        self._count = 0
        self._ask("session.new", capabilities={})

    def open(self) -> str:
        return self._ask("browsingContext.create", type="window")["context"]

    def close(self, tab: str) -> None:
        self._ask("browsingContext.close", context=tab)

    def load(self, tab: str, url: str) -> None:
        self._ask("browsingContext.navigate", context=tab, url=url, wait="complete")

    def reload(self, tab: str) -> None:
        self._ask("browsingContext.reload", context=tab, wait="complete")

    def traverse(self, tab: str, steps: int) -> None:
        self._ask("browsingContext.traverseHistory", context=tab, delta=steps)

    def run(self, tab: str, script: str, arguments: list[Any]) -> Any:
        answer = self._ask(
            "script.callFunction",
            target={"context": tab},
            functionDeclaration=f"given => JSON.stringify((function () {{ {script} }})(...JSON.parse(given)) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            awaitPromise=False,
        )
        if answer["type"] == "exception":
            raise DriverError("javascript error", answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def click(self, tab: str, selector: str) -> None:
        found = self._ask("browsingContext.locateNodes", context=tab, locator={"type": "css", "value": selector})
        origin = {"type": "element", "element": {"sharedId": found["nodes"][0]["sharedId"]}}
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": origin}
        actions = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._ask("input.performActions", context=tab, actions=[{"type": "pointer", "id": "mouse", "actions": actions}])

    def freezing(self, tab: str) -> None:
        return None

    def screenshot(self, tab: str) -> bytes:
        return base64.b64decode(self._ask("browsingContext.captureScreenshot", context=tab)["data"])

    def quit(self) -> None:
        self._ask("browser.close")
        self._socket.close()

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        answer = json.loads(self._socket.receive())
        assert answer["id"] == self._count
        if answer["type"] == "error":
            raise DriverError(answer["error"], answer["message"])
        return answer["result"]


class _WebSocket:
    """The client's end of a websocket, for texts."""

    def __init__(self, port: int, target: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._protocol.send(Request(host=f"127.0.0.1:{port}", target=target)))
        self._events = self._protocol.events()
        assert isinstance(self._next(), AcceptConnection)

    def send(self, text: str) -> None:
        self._socket.sendall(self._protocol.send(TextMessage(data=text)))

    def receive(self) -> str:
        text = ""
        while True:
            event = self._next()
            if isinstance(event, Ping):
                self._socket.sendall(self._protocol.send(event.response()))
            elif isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return text
            else:
                raise ConnectionError(f"Firefox has closed the connection: {event}")

    def close(self) -> None:
        self._socket.close()

    def _next(self) -> Event:
        while (event := next(self._events, None)) is None:
            self._protocol.receive_data(self._socket.recv(65_536) or None)
            self._events = self._protocol.events()
        return event
