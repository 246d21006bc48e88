"""Makes and checks updates, with `stream_props`, and encodes them as JSON once they are yielded.

An update is a list of pairs `(id, props)`. On the wire it is an array `[[id, props], ...]`; an id is a string, or
an object for a pattern-matching id, in which `["ALL"]` stands for a wildcard that the page resolves.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast, overload

import dash
import orjson

from ._dash import Component, Wildcard, is_no_update, stringify_id
from .cancel_scopes import json_equal
from .dash_json import PLAIN, to_json
from .errors import InvalidUpdate
from .streams.events import LightUpdates, PropUpdate, SharedUpdate

ComponentId = str | Mapping[str, Any] | Component
Props = Mapping[str, Any]
Pair = tuple[str | dict[str, Any], dict[str, Any]]

_ADDS_TO = {"extendData": "figure", "prependData": "figure", "rowTransaction": "rowData"}
"""Properties that add to what a component shows, those of dcc.Graph and of the grid, and the property of that."""

_NO_UPDATE = "_dash_no_update"
"""The key of the JSON object that stands for `no_update`: Dash takes a dict that has it for `no_update`, too."""

_HEAVY = 256
"""Bytes of JSON, estimated, from which on an update is not light: texts count by their characters."""

_LARGE = 1 << 63
"""The integers from here on are not light: Python refuses to write very long ones."""

_USAGE = 'Write stream_props("id", {"prop": value}), or stream_props([("id", {"prop": value}), ...]).'


class Update:
    """Props for one or several components: what `stream_props` returns.

    Two are equal when the page would be sent the same: the same components and props in the same order, as JSON. That
    is so for components, arrays and `Patch` in them as well. They have no hash: a dict in one may change.

    Attributes:
        pairs: the ids and their props, in the order in which the page applies them.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: tuple[Pair, ...]) -> None:
        self.pairs: tuple[Pair, ...] = pairs

    def __repr__(self) -> str:
        shown = [(key, {name: _shown(value) for name, value in props.items()}) for key, props in self.pairs]
        return f"stream_props({shown!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Update):
            return NotImplemented
        try:
            return json_equal(self._sent(), other._sent())
        except InvalidUpdate:
            return self is other  # One that cannot be sent is like no other.

    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride] - it has no hash

    def _sent(self) -> object:
        return json.loads(b"[%b]" % encode_pairs(self.pairs))


class LightUpdate(Update):
    """An update whose values are numbers and short texts: see `events.LightUpdates`.

    Attributes:
        size: about how many bytes its JSON has.
    """

    __slots__ = ("size",)

    def __init__(self, pairs: tuple[Pair, ...], size: int) -> None:
        self.pairs = pairs
        self.size: int = size


class _Shown(str):
    """A text that is its own `repr`."""

    __slots__ = ()
    __repr__ = str.__str__


def _shown(value: object) -> object:
    """How a message shows a value: the `repr` of a `Patch` would not say what it does."""
    if isinstance(value, dash.Patch):
        return _Shown(f"Patch({value.to_plotly_json()['operations']!r})")
    return value


@overload
def stream_props(component_id: ComponentId, props: Props) -> Update: ...
@overload
def stream_props(component_id: Iterable[tuple[ComponentId, Props]]) -> Update: ...
@overload
def stream_props(*, batch: Iterable[tuple[ComponentId, Props]]) -> Update: ...
def stream_props(component_id: Any = None, props: Any = None, batch: Any = None) -> Update:
    """Make an update, to be yielded by an event callback or returned by its `on_error`.

    Args:
        component_id: the component: its id, as a string or a dict, or the component itself. Or, without `props`,
            a list of `(component_id, props)` pairs.
        props: the properties to set, with anything as values that a Dash callback may return: components, figures,
            arrays, dates, `Patch`; `no_update` leaves a property as it is.
        batch: a list of `(component_id, props)` pairs, applied in that order.

    Raises:
        InvalidUpdate: the arguments are none of these forms.
    """
    given: object = props
    if type(given) is dict and type(component_id) is str and component_id and given and batch is None:
        # Most updates are these: a tenth of the time. `size` is about how many bytes the JSON has.
        size = 16 + len(component_id)
        for name, value in props.items():
            if type(name) is not str or not name:
                break
            kind = type(value)  # pyright: ignore[reportUnknownVariableType] - a value may be anything
            if (kind is int and -_LARGE < value < _LARGE) or kind is float or kind is bool or value is None:
                size += 24
            else:
                size += 16 + len(value) if kind is str else _HEAVY
        else:
            pairs = ((component_id, props.copy()),)
            return LightUpdate(pairs, size) if size < _HEAVY else Update(pairs)
    if batch is not None:
        if component_id is not None or props is not None:
            raise InvalidUpdate(f"stream_props got batch= beside another argument. {_USAGE}")
        return Update(check_pairs(batch, "stream_props(batch=...)"))
    if component_id is None:
        raise InvalidUpdate(f"stream_props got no component id. {_USAGE}")
    if props is None:
        if isinstance(component_id, str | Mapping | Component):
            raise InvalidUpdate(f"stream_props got an id, {component_id!r}, but no props. {_USAGE}")
        return Update(check_pairs(component_id, "stream_props"))
    return Update((_check_pair(component_id, props, "stream_props"),))


def check_pairs(
    pairs: object, what: str, wildcards: tuple[Wildcard, ...] = (dash.ALL,), usage: str = _USAGE
) -> tuple[Pair, ...]:
    """`pairs` as a tuple of ids and props; `what` names the argument in messages, `usage` says how it is written.

    Raises:
        InvalidUpdate: it is not an iterable of pairs, or one of them is not an id with props.
    """
    if isinstance(pairs, str | Mapping | Component) or not isinstance(pairs, Iterable):
        raise InvalidUpdate(f"{what} expected a list of (id, props) pairs, got {pairs!r}. {usage}")
    checked: list[Pair] = []
    for pair in cast("Iterable[object]", pairs):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(cast("Sequence[object]", pair)) != 2:
            raise InvalidUpdate(f"{what} expected (id, props) pairs, got {pair!r}. {usage}")
        component_id, props = cast("Sequence[object]", pair)
        checked.append(_check_pair(component_id, props, what, wildcards, usage))
    return tuple(checked)


def encode_pairs(pairs: Sequence[Pair]) -> bytes:
    """The inner part of the JSON array of `pairs`, equal to what `to_json` gives; `no_update` is left out.

    Plain values, of which most updates consist, take a shorter way: a tenth of the time.

    Raises:
        InvalidUpdate: a value cannot be made into JSON.
    """
    plain = True
    for component_id, props in pairs:
        # An id that is a dict may have a wildcard; a pair without props is left out.
        if type(component_id) is not str or not props:
            plain = False
        for value in props.values():
            if type(value) is dict and _NO_UPDATE in value:
                plain = False
    if plain:
        try:
            # The slice is a copy. It may be kept for a while, and the bytes that orjson returns have kilobytes to
            # spare.
            return orjson.dumps(pairs, None, PLAIN)[1:-1]
        except TypeError:
            pass  # Something that is not plain, or has no form in JSON: Dash's encoder decides.
    sent: list[tuple[Any, dict[str, Any]]] = []
    for component_id, props in pairs:
        kept = {name: value for name, value in props.items() if not is_no_update(value)}
        if kept:
            sent.append((wire_id(component_id), kept))
    if not sent:
        return b""
    try:
        return to_json(sent)[1:-1].encode()
    except Exception as error:
        raise InvalidUpdate(f"An update cannot be made into JSON ({error}): {_culprit(sent)}.") from error


def encode_by_prop(pairs: Sequence[Pair]) -> list[PropUpdate]:
    """Encode pairs as `encode_pairs` does, but property by property, for a stream that conflates.

    Raises:
        InvalidUpdate: a value cannot be made into JSON.
    """
    prop_updates: list[PropUpdate] = []
    for component_id, props in pairs:
        key = component_id if isinstance(component_id, str) else stringify_id(component_id)
        for name, value in props.items():
            if encoded := encode_pairs([(component_id, {name: value})]):
                whole = not isinstance(value, dash.Patch) and name not in _ADDS_TO
                base = (key, _ADDS_TO.get(name, name))
                prop_updates.append(PropUpdate((key, name), whole, encoded, base))
    return prop_updates


def encode_shared(pairs: Sequence[Pair]) -> SharedUpdate:
    """Encode pairs for all the pages that are sent them.

    Raises:
        InvalidUpdate: a value cannot be made into JSON.
    """
    by_prop = encode_by_prop(pairs)
    encoded = by_prop[0].pair if len(by_prop) == 1 else encode_pairs(pairs)
    return SharedUpdate(encoded, by_prop)


E = TypeVar("E")


def encoder(
    name: str, to_pairs: Callable[[object], Sequence[Pair]] | None, encode: Callable[[Sequence[Pair]], E], nothing: E
) -> Callable[[object], E | None]:
    """The function by which a stream encodes what its generator yields, or its `on_error` returns; None gives None.

    Args:
        name: of the event callback, for messages.
        to_pairs: makes pairs of a value for its Outputs; None if it has none, and yields `stream_props(...)`.
        encode: `encode_pairs` or `encode_by_prop`.
        nothing: what `encode` gives for no pairs.
    """

    def encode_value(value: object) -> E | None:
        if isinstance(value, Update):
            pairs: Sequence[Pair] = value.pairs
        elif value is None and to_pairs is None:
            return None
        elif is_no_update(value):
            return nothing
        elif to_pairs is not None:
            pairs = to_pairs(value)
        else:
            hint = " An `await` is missing in front of it." if inspect.iscoroutine(value) else ""
            raise InvalidUpdate(
                f"The event callback {name!r} gave a {type(value).__name__} ({value!r}): "
                f"an event callback yields, and its on_error returns, stream_props(...).{hint}"
            )
        try:
            return encode(pairs)
        except InvalidUpdate as error:
            raise InvalidUpdate(f"In the event callback {name!r}: {error}") from error

    return encode_value


def update_encoder(
    name: str, to_pairs: Callable[[object], Sequence[Pair]] | None = None
) -> Callable[[object], bytes | None]:
    """`encoder` with `encode_pairs`, and a shorter way for most updates."""
    encode_any = encoder(name, to_pairs, encode_pairs, b"")

    def encode_value(value: object) -> bytes | None:
        if type(value) is LightUpdate:
            try:
                # The slice is a copy: see `encode_pairs`.
                return orjson.dumps(value.pairs, None, PLAIN)[1:-1]
            except TypeError:
                pass  # A value is not plain.
        return encode_any(value)

    return encode_value


def _encode_together(pairs: list[Pair]) -> bytes:
    """Encode the pairs of several light updates: see `LightUpdates.encode`."""
    try:
        return orjson.dumps(pairs, None, PLAIN)[1:-1]
    except TypeError:
        # A text with half a surrogate pair, which Dash's encoder takes.
        return encode_pairs(pairs)


LIGHT_UPDATES = LightUpdates(LightUpdate, _encode_together)
"""How a stream is told of light updates."""


def resolve_match(pairs: Iterable[Pair], matched: Mapping[str, Any]) -> list[Pair]:
    """`pairs` with each MATCH in an id replaced by the value that it matched."""
    return [(resolve_id(component_id, matched), props) for component_id, props in pairs]


def resolve_id(component_id: str | dict[str, Any], matched: Mapping[str, Any]) -> str | dict[str, Any]:
    """An id with each MATCH replaced by the value that it matched."""
    if isinstance(component_id, str):
        return component_id
    return {name: matched.get(name, value) if value is dash.MATCH else value for name, value in component_id.items()}


def _check_pair(
    component_id: object,
    props: object,
    what: str,
    wildcards: tuple[Wildcard, ...] = (dash.ALL,),
    usage: str = _USAGE,
) -> Pair:
    checked = check_id(component_id, what, wildcards, usage)
    if not isinstance(props, Mapping):
        raise InvalidUpdate(f"{what} expected the props of {checked!r} as a dict, got {props!r}. {usage}")
    names = cast("Mapping[object, object]", props)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidUpdate(f"{what} expected the names of properties of {checked!r} as strings, got {name!r}.")
    return checked, dict(cast("Props", props))


def check_id(component_id: object, what: str, wildcards: tuple[Wildcard, ...], usage: str) -> str | dict[str, Any]:
    """An id as a string or a dict; a component gives its own, and gets one if it has none.

    Raises:
        InvalidUpdate: it is not an id.
    """
    if isinstance(component_id, Component):
        # The same rule by which Input(component, ...) names a component without an id.
        output: Any = dash.Output(component_id, "children")
        return output.component_id
    if isinstance(component_id, str) and component_id:
        return component_id
    if isinstance(component_id, Mapping) and component_id:
        fields = cast("Mapping[object, object]", component_id)
        for name, value in fields.items():
            if isinstance(value, Wildcard):
                if value not in wildcards:
                    raise InvalidUpdate(
                        f"{what} got {value!r} in the id {component_id!r}: say which component is meant, "
                        "for instance by ctx.triggered_id, or use ALL."
                    )
            elif not isinstance(name, str) or not isinstance(value, str | int | float | bool):
                raise InvalidUpdate(f"{what} expected strings, numbers and booleans in the id {component_id!r}.")
        return dict(cast("Mapping[str, Any]", component_id))
    raise InvalidUpdate(
        f"{what} expected a component id (a string, a dict or a component), got {component_id!r}. {usage}"
    )


def wire_id(component_id: str | dict[str, Any]) -> str | dict[str, Any]:
    """An id as the page knows it: `["ALL"]` stands for a wildcard."""
    if isinstance(component_id, str):
        return component_id
    return {name: [value.value] if isinstance(value, Wildcard) else value for name, value in component_id.items()}


def parse_id(component_id: str) -> str | dict[str, Any]:
    """An id from the string that Dash makes of it."""
    return json.loads(component_id) if component_id.startswith("{") else component_id


def _culprit(pairs: list[tuple[Any, dict[str, Any]]]) -> str:
    """Which property of an update cannot be made into JSON."""
    for component_id, props in pairs:
        for name, value in props.items():
            try:
                to_json(value)
            except Exception:
                hint = "; an `await` is missing in front of it" if inspect.iscoroutine(value) else ""
                return f"property {name!r} of {component_id!r} is a {type(value).__name__}{hint}"
    return "its ids"
