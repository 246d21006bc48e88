"""Says which streams `app.end_streams` and `app.end_all_streams` end, in a form that other workers understand.

    Selection ─┬─ fits(info)  on this worker
               └─ encode() ── another worker ── Selection.decode(text).fits(info)

A `where=` is a function, which cannot be sent. So the worker that is asked to end streams has all others list theirs,
calls the function for each, and names those that are to end: `Selection.narrowed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from inspect import iscoroutine, iscoroutinefunction
from itertools import islice
from typing import Any, Protocol, cast

from ..errors import InvalidOption
from ..streams.limits import StreamInfo
from ..user_code.functions import parameters_of, takes

Where = Callable[[StreamInfo], object]
"""Says of a stream whether it is to end."""

NAMES_AT_ONCE = 10_000
"""How many streams one question to another worker names. Its size is bounded: see `workers.frames`."""


class Declared(Protocol):
    """The hidden component of an event callback of the app.

    Attributes:
        id: of the component; the key of each stream of the event callback begins with it.
        name: what messages call the event callback.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The streams that all of this fits; what is None fits every stream.

    Attributes:
        callback: the name of their event callback.
        callback_id: the id of its hidden component, which tells apart event callbacks of one name.
        page: their page, as `StreamInfo.page` has it.
        user: whose they are.
        names: what `name_of` returns for them.
    """

    callback: str | None = None
    callback_id: str | None = None
    page: str | None = None
    user: str | None = None
    names: frozenset[str] | None = None

    @classmethod
    def check(cls, declared: Iterable[Declared], callback: object, page: object, user: object) -> Selection:
        """What the arguments of `app.end_streams` stand for, but `where`.

        Args:
            declared: the event callbacks of the app.
            callback: one of them, or its name.
            page: see `Selection`.
            user: see `Selection`.

        Raises:
            InvalidOption: one of them has a value that it cannot have.
        """
        for name, value in (("page", page), ("user", user)):
            if value is not None and not isinstance(value, str):
                raise InvalidOption(f"{name}= of app.end_streams is to be a string, got {value!r}.")
        selection = cls(page=cast("str | None", page), user=cast("str | None", user))
        if callback is None:
            return selection
        ids = {component.id: component.name for component in declared}
        component_id: str | None = getattr(getattr(callback, "stream", None), "id", None)
        if component_id in ids:
            return replace(selection, callback_id=component_id)
        if isinstance(callback, str) and callback in ids.values():
            return replace(selection, callback=callback)
        known = ", ".join(sorted(set(map(repr, ids.values())))) or "none"
        raise InvalidOption(
            f"callback= of app.end_streams is to be an event callback of this app or its name, got {callback!r}. Known "
            f"are: {known}."
        )

    def fits(self, info: StreamInfo) -> bool:
        """Whether a stream is one of them."""
        return (
            (self.callback is None or info.callback == self.callback)
            and (self.callback_id is None or info.key.partition(" ")[0] == self.callback_id)
            and (self.page is None or info.page == self.page)
            and (self.user is None or info.user == self.user)
            and (self.names is None or name_of(info) in self.names)
        )

    def narrowed(self, where: Where, infos: Iterable[StreamInfo]) -> Selection:
        """Those of `infos` that this fits and `where` returns something true for. What `where` raises, this raises."""
        return replace(self, names=frozenset(name_of(info) for info in infos if self.fits(info) and _ask(where, info)))

    def parts(self) -> Iterator[Selection]:
        """Selections that come to this one, each small enough for one question."""
        if self.names is None:
            yield self
            return
        names = iter(self.names)
        while part := frozenset(islice(names, NAMES_AT_ONCE)):
            yield replace(self, names=part)

    def encode(self, why: str) -> str:
        """The question to another worker."""
        return json.dumps({"why": why, **asdict(self), "names": None if self.names is None else list(self.names)})

    @classmethod
    def decode(cls, text: str) -> tuple[Selection, str]:
        """What `encode` was called on, and with."""
        fields: dict[str, Any] = json.loads(text)
        why, names = fields.pop("why"), fields.pop("names")
        return cls(**fields, names=None if names is None else frozenset(names)), why


def check_call(callback: object, page: object, user: object, where: object, why: object) -> None:
    """Refuse a call of `app.end_streams` with arguments that do not say which streams are meant.

    Raises:
        InvalidOption: there is no argument that says so, or `where` or `why` has a value that it cannot have.
    """
    if callback is None and page is None and user is None and where is None:
        raise InvalidOption(
            "app.end_streams was not told which streams to end: callback=, page=, user= and where= are all None. To "
            "end every stream, say so: where=lambda info: True."
        )
    if not isinstance(why, str):
        raise InvalidOption(f"why= of app.end_streams is to be a string, got {why!r}.")
    if where is None:
        return
    if not callable(where) or iscoroutinefunction(where):
        raise InvalidOption(f"where= of app.end_streams is to be a plain function of a StreamInfo, got {where!r}.")
    if not takes(where, None):
        raise InvalidOption(
            f"where= of app.end_streams is called with one argument, a StreamInfo, which it does not take: it has the "
            f"parameters {parameters_of(where)}."
        )


def name_of(info: StreamInfo) -> str:
    """Names a stream among those of all workers: ids are unique within a page."""
    return f"{info.page} {info.id}"


def _ask(where: Where, info: StreamInfo) -> bool:
    answer = where(info)
    if iscoroutine(answer):
        answer.close()
        raise InvalidOption("where= of app.end_streams returned a coroutine: it is to be a plain function.")
    return bool(answer)
