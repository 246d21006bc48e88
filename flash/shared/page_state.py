"""Keeps what a page shows of the updates of a shared stream, so that one that joins late can be given it.

The state of a page is, for each property, the newest whole value, and what has been added to that since: by a `Patch`,
or by a property that adds to another one, as `extendData` of a graph adds to its `figure`. The state keeps these in the
order in which they were yielded; a whole value takes the place of the older one and of what was added to that. So a
page that applies the state shows what a page shows that has followed from the start.

What adds up grows without end, and so the state is bounded. When it is too large, the properties that have been added
to are *lost*: nobody can join until each of them has a whole value again. If the whole values alone are too large,
nobody can join any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..streams.events import PropUpdate, SharedUpdate
from .memory import NOTHING

CHUNK = 8_192
"""Bytes of JSON from which on the state goes into another event: a page has to parse one in one go."""


class PageState:
    """The memory of a source whose followers are streams of pages."""

    def __init__(
        self, name: str, encode: Callable[[object], SharedUpdate | None], bound: int, on_none: Callable[[], object]
    ) -> None:
        """
        Args:
            name: of the event callback, for messages.
            encode: encodes what the generator yields; None if that is None. Raises InvalidUpdate.
            bound: bytes of JSON that the state may have.
            on_none: is called when the generator has yielded None.
        """
        self._name = name
        self._encode = encode
        self._bound = bound
        self._on_none = on_none
        # Whole values by their property, and what adds up by a key of its own; in the order in which they are applied.
        self._pairs: dict[object, bytes] = {}
        # The keys of what adds up, by the property that it is added to.
        self._added: dict[object, list[object]] = {}
        self._size = 0
        self._lost: set[object] = set()
        self._is_over = False
        # What a new follower is given, until the state changes: the same bytes for all who join at once.
        self._given: list[bytes] | None = None
        self._latest = SharedUpdate(b"", ())

    def take(self, value: object) -> object:
        """See `Memory`."""
        update = self._encode(value)
        if update is None:
            self._on_none()
            return NOTHING
        if not update.by_prop:
            return NOTHING
        if not self._is_over:
            self._note(update.by_prop)
        update.follow(self._latest)
        self._latest = update
        return update

    def given(self) -> Sequence[bytes]:
        """See `Memory`: the inner parts of JSON arrays of pairs, each of which makes one event."""
        if self._given is None:
            self._given = list(_chunks(self._pairs.values()))
        return self._given

    @property
    def refusal(self) -> str | None:
        """See `Memory`."""
        if not self._is_over and not self._lost:
            return None
        return (
            f"{self._name!r} was not started: it runs already, and what it has sent is too large for a page that "
            f"joins now (more than {self._bound} bytes). Have it yield whole values now and then, or raise "
            "stream_buffer_bytes= of Flash(...)."
        )

    def _note(self, by_prop: Sequence[PropUpdate]) -> None:
        self._given = None
        for prop_update in by_prop:
            if prop_update.whole:
                self._forget(prop_update.key)
                self._lost.discard(prop_update.key)
                self._keep(prop_update.key, prop_update.pair)
            elif prop_update.base not in self._lost:
                key = object()
                self._added.setdefault(prop_update.base, []).append(key)
                self._keep(key, prop_update.pair)
        if self._size > self._bound:
            for base in list(self._added):
                self._forget(base)
                self._lost.add(base)
        if self._size > self._bound:
            self._is_over = True
            self._pairs.clear()
            self._lost.clear()

    def _keep(self, key: object, pair: bytes) -> None:
        self._pairs[key] = pair
        self._size += len(pair)

    def _forget(self, prop: object) -> None:
        """Forget the whole value of a property, and what was added to it."""
        for key in (prop, *self._added.pop(prop, ())):
            self._size -= len(self._pairs.pop(key, b""))


def _chunks(pairs: Iterable[bytes]) -> Iterator[bytes]:
    """Pairs, with those that follow each other joined up to the size of a chunk."""
    chunk: list[bytes] = []
    size = 0
    for pair in pairs:
        if chunk and size + len(pair) > CHUNK:
            yield b",".join(chunk)
            chunk, size = [], 0
        chunk.append(pair)
        size += len(pair)
    if chunk:
        yield b",".join(chunk)
