"""A small made-up stock exchange: five shares whose prices wander, in this process and over a websocket."""

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from math import exp
from random import Random
from typing import Any

import trio
from quart import websocket

Tick = dict[str, Any]

SHARES = {
    "KELP": "Kelp & Tide Foods",
    "HALO": "Halo Optics",
    "TERN": "Tern Air Freight",
    "VOLT": "Voltaire Storage",
    "ONYX": "Onyx Quarries",
}
OPENING = {"KELP": 42.50, "HALO": 118.20, "TERN": 27.35, "VOLT": 203.80, "ONYX": 64.10}
HISTORY = 300
PACE = 0.2


class StockExchange:
    """Trades for as long as the server runs; each websocket gets the recent ticks in one message, then one a time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.prices = dict(OPENING)
        self.listeners: set[trio.MemorySendChannel[Tick]] = set()
        now = datetime.now()
        before = (now - timedelta(seconds=PACE * n) for n in range(HISTORY, 0, -1))
        self.history = deque((self.step(time) for time in before), maxlen=HISTORY)

    def step(self, time: datetime) -> Tick:
        """Move every price a little, some of it together with the market."""
        market = self.random.gauss(0, 0.0004)
        quotes = []
        for symbol, opening in OPENING.items():
            pull = 0.002 * (opening / self.prices[symbol] - 1)
            price = self.prices[symbol] * exp(market + pull + self.random.gauss(0, 0.0009))
            self.prices[symbol] = price
            half_spread = price * self.random.uniform(0.0002, 0.0006)
            quotes.append(
                {
                    "symbol": symbol,
                    "last": round(price, 2),
                    "bid": round(price - half_spread, 2),
                    "ask": round(price + half_spread, 2),
                    "change": round(100 * (price / opening - 1), 3),
                }
            )
        return {"time": time.isoformat(timespec="milliseconds"), "quotes": quotes}

    async def trade(self) -> None:
        while True:
            await trio.sleep(PACE)
            tick = self.step(datetime.now())
            self.history.append(tick)
            for listener in self.listeners:
                with suppress(trio.WouldBlock):  # whoever does not keep up misses a tick
                    listener.send_nowait(tick)

    @contextmanager
    def listening(self) -> Generator[trio.MemoryReceiveChannel[Tick]]:
        """Each tick from now on."""
        send, receive = trio.open_memory_channel[Tick](16)
        self.listeners.add(send)
        try:
            yield receive
        finally:
            self.listeners.remove(send)

    async def serve(self) -> None:
        """The websocket's view."""
        with self.listening() as ticks:
            await websocket.send_json(list(self.history))
            async for tick in ticks:
                await websocket.send_json(tick)


exchange = StockExchange(seed=1815)
