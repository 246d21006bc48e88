"""Checks what the user wrote in `@event_callback(...)`, or in `@callback(...)` over a generator.

Every mistake that can be found without a request is found here, when the decorator runs: the message names the
callback. A `Declaration` holds what was checked: everything that the start of a stream needs to know of its callback.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import dash

from .._dash import DashDependency, flatten_grouping, handle_grouped_callback_args, validate_and_group_input_args
from ..cancel_scopes import Condition, Predicate, json_equal
from ..dash_json import to_json
from ..errors import InvalidEventCallback, InvalidUpdate
from ..options import FINITE_SECONDS
from ..props import Pair, check_pairs, encode_pairs, stream_props, wire_id
from ..user_code.discarded_calls import check_discarded
from ..user_code.functions import is_generator_function, name_of, parameters_of, takes, takes_keyword, takes_part_of
from .outputs import Outputs
from .sharing import Sharing

_log = logging.getLogger("flash.streams")


OVERLAPS = ("supersede", "drop", "queue")
"""What may become of a start while its key runs: it ends that run, is ignored, or waits its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCallbackOptions:
    """The options of `event_callback` as the user wrote them, not checked yet."""

    cancel: Any = None
    watch: Any = None
    on_error: Any = None
    reset_props: Any = None
    running: Any = None
    timeout: Any = None
    restart: Any = False
    conflate: Any = False
    keep: Any = False
    overlap: Any = "supersede"
    shared: Any = None
    linger: Any = 0
    resume: Any = False


class Declaration(NamedTuple):
    """What an event callback was declared with.

    Attributes:
        name: the name of the function, for messages.
        outputs: where the values that it yields go; None if it yields `stream_props(...)` only.
        inputs: the Inputs, as a flat list.
        states: the States, as a flat list.
        grouping: indices of `inputs` and `states` together, in the shape of the arguments of the function.
        matches: the keys of ids that an Input or Output has MATCH for.
        cancel_states: States that bring the values of the cancel Inputs, one for each condition.
        conditions: those of `cancel=`.
        watched_states: States that bring the values of the Inputs of `watch=`, by the keywords of the function.
        on_error: the user's handler; None if there is none.
        resets: the pairs of `reset_props`.
        on: the pairs of `running` for the time while the stream runs.
        off: the pairs of `running` for the time after it.
        timeout: seconds after which the stream ends; None for no limit.
        restart: whether the page starts the stream again when it has lost its server.
        conflate: whether a newer value of a property replaces an older one that has not been sent.
        keep: whether the stream goes on when all components that it depends on or has updated have left the layout.
        overlap: what becomes of a start while its key runs: one of `OVERLAPS`.
        sharing: how its streams are shared; None if each runs by itself.
    """

    name: str
    outputs: Outputs | None
    inputs: list[Any]
    states: list[Any]
    grouping: Any
    matches: frozenset[str]
    cancel_states: list[Any]
    conditions: list[Condition]
    watched_states: dict[str, Any]
    on_error: Callable[[BaseException], object] | None
    resets: tuple[Pair, ...]
    on: tuple[Pair, ...]
    off: tuple[Pair, ...]
    timeout: float | None
    restart: bool
    conflate: bool
    keep: bool
    overlap: str
    sharing: Sharing | None = None

    @classmethod
    def check(
        cls, name: str, dependencies: tuple[Any, ...], keywords: Mapping[str, Any], options: EventCallbackOptions
    ) -> Declaration:
        outputs, inputs, states, grouping = _check_dependencies(name, dependencies, keywords)
        sources = [*inputs, *(outputs.flat if outputs else ())]
        matches = frozenset(key for dependency in sources for key in match_keys(dependency.component_id))
        cancel_states, conditions = _check_cancel(name, options.cancel)
        watched_states = _check_watch(name, options.watch, grouping)
        on_error, timeout = options.on_error, options.timeout
        check_on_error(name, on_error)
        if timeout is not None and not FINITE_SECONDS.allow(timeout):
            raise InvalidEventCallback(f"timeout of {name!r} is to be {FINITE_SECONDS.description}, got {timeout!r}.")
        for flag in ("restart", "conflate", "keep"):
            value: object = getattr(options, flag)
            if not isinstance(value, bool):
                raise InvalidEventCallback(f"{flag} of {name!r} is to be True or False, got {value!r}.")
        if not isinstance(options.overlap, str) or options.overlap not in OVERLAPS:
            raise InvalidEventCallback(
                f"overlap of {name!r} is to be {', '.join(map(repr, OVERLAPS[:-1]))} or {OVERLAPS[-1]!r}, got "
                f"{options.overlap!r}."
            )
        for dependency in [*inputs, *states] if options.restart else []:
            _refuse_partial(dependency, f"{name!r}, which has restart=True,")
        on, off = _check_running(name, options.running)
        try:
            resets = _check_resets(name, options.reset_props)
            for pairs in (resets, on, off):
                encode_pairs(pairs)
        except InvalidUpdate as error:
            raise InvalidEventCallback(str(error)) from error
        ids = [(state.component_id, "cancel") for state in cancel_states]
        ids += [(state.component_id, "watch") for state in watched_states.values()]
        ids += [(component_id, "reset_props") for component_id, _ in resets]
        ids += [(component_id, "running") for component_id, _ in on]
        ids += [(state.component_id, "a State") for state in states]
        for component_id, where in ids:
            if missing := match_keys(component_id) - matches:
                raise InvalidEventCallback(
                    f"{where} of {name!r} has MATCH for {sorted(missing)[0]!r}, which no Input of it matches."
                )
        sharing = Sharing.check(name, options.shared, options.linger, options.resume, bool(matches))
        if sharing is not None and watched_states:
            raise InvalidEventCallback(
                f"{name!r} has watch= and shared=: its generator runs for many pages, of which each has its own value. "
                "Leave one of the two out."
            )
        return cls(
            name=name,
            outputs=outputs,
            inputs=inputs,
            states=states,
            grouping=grouping,
            matches=matches,
            cancel_states=cancel_states,
            conditions=conditions,
            watched_states=watched_states,
            on_error=on_error,
            resets=resets,
            on=on,
            off=off,
            timeout=timeout,
            restart=options.restart,
            conflate=options.conflate,
            keep=options.keep,
            overlap=options.overlap,
            sharing=sharing,
        )

    def warn_of_doubtful_options(self) -> list[str]:
        """Log a warning for each option that is allowed and probably does not do what was meant. Returns the texts."""
        texts: list[str] = []
        for state, condition in zip(self.cancel_states, self.conditions, strict=True):
            if condition.counts and condition.desired is not None and condition.desired not in ("0", "None"):
                texts.append(
                    f"cancel of {self.name!r} lets the stream go on while {condition.label} is {condition.desired}, "
                    "which a counter is after some clicks: the click that makes it so does not end the stream. If "
                    f"any click is to, write the bare Input({state.component_id!r}, {state.component_property!r})."
                )
        for text in texts:
            _log.warning("%s", text)
        return texts

    def named_properties(self) -> list[tuple[str, Any, str]]:
        """`(option, id, property)` for each property that an option names: the page checks that they exist."""
        named = [("cancel", state.component_id, state.component_property) for state in self.cancel_states]
        named += [("watch", state.component_id, state.component_property) for state in self.watched_states.values()]
        for option, pairs in (("reset_props", self.resets), ("running", self.on)):
            named += [(option, component_id, prop) for component_id, props in pairs for prop in props]
        return [(option, wire_id(component_id), prop) for option, component_id, prop in named]


def _check_dependencies(
    name: str, dependencies: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[Outputs | None, list[Any], list[Any], Any]:
    """The Outputs, the flat Inputs and States, and the grouping of indices that gives the function its arguments."""
    try:
        grouping, inputs, states, indices, _ = handle_grouped_callback_args(list(dependencies), dict(keywords))
    except Exception as error:
        raise InvalidEventCallback(f"The dependencies of {name!r} are malformed: {error}") from error
    for dependency in [*inputs, *states]:
        if not isinstance(dependency, dash.Input | dash.State):
            raise InvalidEventCallback(f"{name!r} was given {dependency!r} where an Input or State was expected.")
    flat = flatten_grouping(grouping)
    return (Outputs(name, grouping, flat) if flat else None), inputs, states, indices


def _check_cancel(name: str, cancel: Any) -> tuple[list[Any], list[Condition]]:
    """The States that bring the values of the cancel Inputs, and the conditions on them."""
    usage = 'Write cancel=[(Input("tabs", "value"), "dashboard"), Input("stop", "n_clicks")].'
    if cancel is None:
        return [], []
    if not isinstance(cancel, list | tuple):
        raise InvalidEventCallback(f"cancel of {name!r} is to be a list of conditions, got {cancel!r}. {usage}")
    states: list[Any] = []
    conditions: list[Condition] = []
    for entry in cast("Sequence[Any]", cancel):
        predicate: Predicate | None = None
        desired_text: str | None = None
        dependency = entry
        if isinstance(entry, list | tuple):
            pair = cast("Sequence[Any]", entry)
            if len(pair) != 2:
                raise InvalidEventCallback(f"cancel of {name!r} expected (Input, desired), got {entry!r}. {usage}")
            dependency, desired = pair
            desired_text = None if callable(desired) else repr(desired)
            predicate = _check_predicate(name, dependency, desired) if callable(desired) else _equals(name, desired)
        if not isinstance(dependency, dash.Input):
            raise InvalidEventCallback(f"cancel of {name!r} expected an Input, got {dependency!r}. {usage}")
        _refuse_partial(dependency, f"cancel of {name!r}")
        states.append(_state_of(dependency))
        counts = dependency.component_property.startswith("n_")
        conditions.append(Condition(str(dependency), predicate, counts, desired_text))
    return states, conditions


def _check_watch(name: str, watch: Any, grouping: Any) -> dict[str, Any]:
    """The States that bring the values of the watched Inputs, by the keywords that the function gets them by."""
    usage = 'Write watch={"speed": Input("speed", "value")}.'
    if watch is None:
        return {}
    if not isinstance(watch, Mapping):
        raise InvalidEventCallback(f"watch of {name!r} is to be a dict of Inputs by keywords, got {watch!r}. {usage}")
    states: dict[str, Any] = {}
    for keyword, dependency in cast("Mapping[Any, Any]", watch).items():
        if not isinstance(keyword, str) or not keyword.isidentifier():
            raise InvalidEventCallback(f"watch of {name!r} has {keyword!r}, which cannot be a keyword. {usage}")
        if isinstance(grouping, dict) and keyword in grouping:
            raise InvalidEventCallback(
                f"{name!r} gets an Input or State as {keyword!r}, and watch has the same keyword: give one another."
            )
        if not isinstance(dependency, dash.Input):
            raise InvalidEventCallback(
                f"watch of {name!r} expected an Input for {keyword!r}, got {dependency!r}. {usage}"
            )
        _refuse_partial(dependency, f"watch of {name!r}")
        states[keyword] = _state_of(dependency)
    return states


def _state_of(dependency: Any) -> Any:
    """A State that brings the value of an Input with a start, even if its component is not in the layout."""
    return dash.State(dependency.component_id, dependency.component_property, allow_optional=True)


def check_on_error(name: str, on_error: object) -> None:
    """Refuse an `on_error` that cannot be called with one exception."""
    if on_error is None:
        return
    if not callable(on_error):
        raise InvalidEventCallback(f"on_error of {name!r} is to be a function of one exception, got {on_error!r}.")
    if not takes(on_error, None):
        raise InvalidEventCallback(
            f"on_error of {name!r} is called with one argument, the exception, which {name_of(on_error)!r} does not "
            f"take: it has the parameters {parameters_of(on_error)}. Write `def on_error(error): ...`."
        )
    if is_generator_function(on_error):
        raise InvalidEventCallback(
            f"on_error of {name!r} yields: it is to return its update, once. Write `return stream_props(...)`; more "
            "than one component may be in it, as a list of (id, props) pairs."
        )
    check_discarded(on_error, f"on_error of {name!r}", stream_props, "write `return stream_props(...)`")


def check_arguments(name: str, function: Callable[..., Any], declaration: Declaration) -> None:
    """Refuse a function that cannot be called with the values of the Inputs and States."""
    if not callable(function):
        raise InvalidEventCallback(
            f"{name!r} is a {type(function).__name__} object, which cannot be called: decorate a function, or a "
            "method of an object (`event_callback(...)(thing.method)`)."
        )
    args, keywords = validate_and_group_input_args(
        [None] * (len(declaration.inputs) + len(declaration.states)), declaration.grouping
    )
    for keyword in declaration.watched_states:
        if not takes_keyword(function, keyword, len(args)):
            raise InvalidEventCallback(
                f"{name!r} watches {keyword!r} (watch=), and does not take that as a keyword: it has the parameters "
                f"{parameters_of(function)}. Add {keyword} behind those for its Inputs and States."
            )
    # The function in shared= may give it more.
    may_get_more = declaration.sharing is not None and callable(declaration.sharing.scope)
    if not (takes_part_of if may_get_more else takes)(function, *args, **keywords, **declaration.watched_states):
        given = (
            ", ".join([f"{key}=" for key in keywords] or map(str, [*declaration.inputs, *declaration.states]))
            or "nothing"
        )
        raise InvalidEventCallback(
            f"{name!r} is called with the values of its Inputs and States ({given}), which it does not take: it has "
            f"the parameters {parameters_of(function)}. Those in cancel= are not passed to it."
        )


def _check_predicate(name: str, dependency: object, predicate: Any) -> Predicate:
    if not takes(predicate, None):
        raise InvalidEventCallback(
            f"cancel of {name!r} has a predicate for {dependency} that does not take one argument, the value: it has "
            f"the parameters {parameters_of(predicate)}. Write `lambda value: ...`."
        )
    if inspect.iscoroutinefunction(predicate):
        raise InvalidEventCallback(
            f"cancel of {name!r} has an async predicate for {dependency}: it is to be a plain function, for it is "
            "asked in passing."
        )
    return predicate


def _check_resets(name: str, resets: Any) -> tuple[Pair, ...]:
    """The pairs of `reset_props`."""
    usage = 'Write reset_props=[("out", {"children": ""})].'
    if isinstance(resets, Mapping):
        raise InvalidEventCallback(f"reset_props of {name!r} is to be a list of (id, props) pairs, got a dict. {usage}")
    return check_pairs(resets or (), f"reset_props of {name!r}", (dash.ALL, dash.MATCH), usage)


def _equals(name: str, desired: Any) -> Predicate:
    """The predicate of a desired value: the same JSON."""
    try:
        expected: object = json.loads(to_json(desired))
    except Exception as error:
        raise InvalidEventCallback(f"cancel of {name!r} has a value that is not JSON: {desired!r}.") from error
    return lambda value: json_equal(value, expected)


def _check_running(name: str, running: Any) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The values of `running` while a stream runs, and afterwards."""
    usage = 'Write running=[(Output("start", "disabled"), True, False)].'
    if running is None:
        return (), ()
    if not isinstance(running, list | tuple):
        raise InvalidEventCallback(f"running of {name!r} is to be a list of tuples, got {running!r}. {usage}")
    entries = cast("Sequence[Any]", running)
    if entries and isinstance(entries[0], DashDependency):
        entries = [entries]
    on: list[Pair] = []
    off: list[Pair] = []
    for entry in entries:
        triple = cast("Sequence[Any]", entry) if isinstance(entry, list | tuple) else ()
        if len(triple) != 3 or not isinstance(triple[0], dash.Output):
            raise InvalidEventCallback(f"running of {name!r} expected (Output, on, off), got {entry!r}. {usage}")
        output = triple[0]
        _refuse_partial(output, f"running of {name!r}")
        component_id = cast("str | dict[str, Any]", cast("Any", output).component_id)
        on.append((component_id, {output.component_property: triple[1]}))
        off.append((component_id, {output.component_property: triple[2]}))
    return tuple(on), tuple(off)


def _refuse_partial(dependency: Any, where: str) -> None:
    """Refuse an id with `partial_pattern=True`, which only Dash 4.5 resolves, where the page resolves ids itself."""
    if getattr(dependency, "partial_pattern", False):
        raise InvalidEventCallback(f"{where} has {dependency!r} with partial_pattern=True: write all keys of the ids.")


def match_keys(component_id: Any) -> frozenset[str]:
    """The keys of an id whose value is MATCH."""

    if not isinstance(component_id, dict):
        return frozenset()
    fields = cast("dict[str, Any]", component_id)
    return frozenset(key for key, value in fields.items() if value is dash.MATCH)
