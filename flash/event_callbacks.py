"""The decorator `event_callback`: checks what the user wrote, and registers a Dash callback that starts streams.

An event callback is an ordinary Dash callback whose request only starts a stream. Dash's renderer sends it the
Inputs and States that the user asked for; Flash adds, behind them, the cancel Inputs and the watched ones (as States,
so that the server has their values at the start) and the page's token. Everything that can be checked is checked when
the decorator runs.

Dash names a callback by its Outputs, and one without Outputs by a hash of its Inputs alone, so that two on the
same Inputs would collide: an event callback has an additional Input that is never there. It has an Output, on its
hidden `CallbackComponent`, only if it is to be called initially: Dash calls a callback with an Output whenever one of
its Inputs appears in the layout, as if it had been clicked, even with `prevent_initial_call`. One without any Input
has its own hidden component as Input, and so starts when the page is loaded.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import dash

from ._dash import StandsForComponent, callback, is_flash
from ._dash_patches import let_stand_for_component, patch_once
from .asgi.page_secret import PAGE_ID
from .callbacks.components import CallbackComponent
from .callbacks.declaration import Declaration, EventCallbackOptions, check_arguments
from .callbacks.sharing import Shared
from .callbacks.start import StartDependencies, starter
from .errors import InvalidEventCallback
from .props import stream_props
from .user_code.discarded_calls import check_discarded
from .user_code.functions import kind_of_generator, name_of

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_names: Counter[str] = Counter()


class EventCallback(Generic[P, R_co], StandsForComponent):
    """An event callback. Calling it calls the user's generator function; `stream` shows the status of its streams.

    Attributes:
        stream: the hidden component with the status of the streams: `Input(my_callback.stream, "status")`. In an
            Input or State the event callback itself stands for it.
        declaration: what the decorator was given, checked.
    """

    def __init__(self, function: Callable[P, R_co], component: CallbackComponent, declaration: Declaration) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.stream = component
        self.declaration = declaration

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._function(*args, **kwargs)


let_stand_for_component(EventCallback, lambda event_callback: event_callback.stream.id)


class EventCallbacks:
    """The event callbacks that were declared and are not part of an app yet."""

    def __init__(self) -> None:
        self._components: list[CallbackComponent] = []

    def add(self, component: CallbackComponent) -> None:
        self._components.append(component)

    def components(self) -> list[CallbackComponent]:
        """Their hidden components."""
        return list(self._components)

    def names(self) -> list[str]:
        """Their names, as messages have them."""
        return [component.name for component in self._components]

    def take(self) -> list[CallbackComponent]:
        """Their hidden components; each is handed out once."""
        taken, self._components = self._components, []
        return taken


GLOBAL_EVENT_CALLBACKS = EventCallbacks()


def _refuse_elsewhere(app: dash.Dash) -> None:
    """Refuse an app that is a plain `dash.Dash`, which could not serve the streams of these callbacks."""
    names = GLOBAL_EVENT_CALLBACKS.names()
    if names and not is_flash(app):
        raise InvalidEventCallback(
            f"The app is a dash.Dash, and {', '.join(map(repr, names))} needs app = Flash(...): event callbacks and "
            "generators under @callback stream, which Dash's servers cannot. Write `from flash import Flash`."
        )


def prepare_dash() -> None:
    """Change in Dash what Flash's callbacks need. Called before one is declared, and before an app is made."""
    patch_once(_refuse_elsewhere)


def event_callback(
    *dependencies: Any,
    cancel: Sequence[Any] | None = None,
    watch: Mapping[str, Any] | None = None,
    on_error: Callable[[Any], Any] | None = None,
    reset_props: Any = None,
    prevent_initial_call: bool | None = None,
    running: Any = None,
    timeout: float | None = None,
    restart: bool = False,
    conflate: bool = False,
    keep: bool = False,
    overlap: Literal["supersede", "drop", "queue"] = "supersede",
    shared: Shared = None,
    linger: float = 0,
    resume: bool = False,
    concat: object = None,
    **keywords: Any,
) -> Callable[[Callable[P, R]], EventCallback[P, R]]:
    """Make a generator function an event callback: it yields `stream_props(...)` and the page applies them at once.

    Args:
        dependencies: Inputs and States, in every form that `dash.callback` takes, `inputs=` and `state=` included.
        cancel: conditions for the stream to go on: `(Input, desired)`, `(Input, predicate)`, or a bare Input, which
            any change ends. The stream is closed when one is not met any more. It does not start while one is not
            met; bare Inputs and counters (`n_clicks` and other `n_*` properties) are not asked then.
        watch: Inputs by the keywords of the generator function. A change of one neither starts nor ends a stream: the
            function gets a `Watched` by that keyword, whose `value` is always what the page shows, and whose
            `changed()` waits for the next change.
        on_error: called once when the stream ends for any reason but completion, with the exception that the
            generator raised or a `StreamCancelled`. Sync (in a worker thread) or async. What it returns, a
            `stream_props(...)` or None, is the last update of the stream.
        reset_props: `(component_id, props)` pairs, applied after `on_error`'s update; by the page itself if it
            loses its server.
        prevent_initial_call: whether not to start when the page is loaded; by default True for a callback that has
            Inputs. One without any starts then, and only then.
        running: `(Output, value while it runs, value afterwards)` tuples.
        timeout: seconds after which the stream ends with `timed_out`; None for no limit.
        restart: whether the page starts the stream again, with the Inputs as they are then, when it ended because the
            server stopped or was lost and a server answers again.
        conflate: whether, while the page is behind, a newer value of a property replaces the older one that has not
            been sent. The generator does not wait then, and the page always gets the newest. A `Patch`, and what
            adds up (`extendData`, `prependData`, `rowTransaction`), is never replaced.
        keep: whether the stream goes on when neither a component of its Inputs nor one that it has updated is in the
            layout any more, as when a page of a multi-page app is left. Else it ends then, with `cancelled` and the
            condition `"layout"`.
        overlap: what becomes of a start while a run of the same callback, and of the same MATCH values, has not ended:
            `"supersede"` ends that run first, `"drop"` ignores the start, `"queue"` has it wait its turn, behind at
            most nine others.
        shared: whose pages follow one run of the generator, if their Inputs and States have the same values (counters,
            `n_*`, do not count): `"all"` for those of everybody, `"browser"` for those of one browser. Or a function of
            the request, plain or async: those for which it returns the same string, or dict of strings, whose entries
            the generator is given as keywords. If it raises, the stream is not started. `cancel`, `on_error`,
            `reset_props`, `running`, `timeout` and `restart` stay each page's own. None: each page has its own run.
        linger: with `shared`, seconds for which the run goes on when the last page that has followed it is lost.
        resume: with `shared`, whether a page that is loaded follows the run that is still going for its Inputs and
            States, if there is one, and starts none.
        concat: accepted for apps written for `dash-flash`, and ignored.

    Raises:
        InvalidEventCallback: one of these is malformed, or what is decorated is not a generator function.
    """
    return declare(
        callback,
        GLOBAL_EVENT_CALLBACKS,
        dependencies,
        keywords,
        prevent_initial_call,
        EventCallbackOptions(
            cancel=cancel,
            watch=watch,
            on_error=on_error,
            reset_props=reset_props,
            running=running,
            timeout=timeout,
            restart=restart,
            conflate=conflate,
            keep=keep,
            overlap=overlap,
            shared=shared,
            linger=linger,
            resume=resume,
        ),
    )


def declare(
    register: Callable[..., Any],
    declared: EventCallbacks,
    dependencies: tuple[Any, ...],
    keywords: Mapping[str, Any],
    prevent_initial_call: bool | None,
    options: EventCallbackOptions,
) -> Callable[[Callable[P, R]], EventCallback[P, R]]:
    """The decorator behind `event_callback`: registers with `register`, a Dash `callback`, and notes in `declared`."""
    prepare_dash()
    unknown = set(keywords) - {"inputs", "state"}
    if unknown:
        raise InvalidEventCallback(f"event_callback does not know the argument {sorted(unknown)[0]!r}.")

    if any(inspect.isfunction(dependency) for dependency in dependencies):
        raise InvalidEventCallback(
            'event_callback needs its Inputs: write @event_callback(Input("start", "n_clicks")).'
        )

    def decorate(function: Callable[P, R]) -> EventCallback[P, R]:
        name = name_of(function)
        if isinstance(function, EventCallback):
            raise InvalidEventCallback(f"{name!r} is an event callback already: write all its Inputs into one.")
        if kind_of_generator(function) is None:
            raise InvalidEventCallback(
                f"{name!r} is not a generator function: an event callback is one that yields stream_props(...). "
                "For a function that returns its result, use @callback."
            )
        declaration = Declaration.check(name, dependencies, keywords, options)
        if declaration.outputs is not None:
            raise InvalidEventCallback(
                f"{name!r} was given {declaration.outputs.flat[0]!r}: an event callback has no Outputs, its updates "
                "say where they go. For values that go into Outputs, use @callback."
            )
        unasked = bool(declaration.inputs) if prevent_initial_call is None else prevent_initial_call
        return register_starter(function, declaration, register, declared, unasked)

    return decorate


def register_starter(
    function: Callable[P, R],
    declaration: Declaration,
    register: Callable[..., Any],
    declared: EventCallbacks,
    prevent_initial_call: Any,
    **keywords: Any,
) -> EventCallback[P, R]:
    """Register the callback that starts the streams of `function`; `keywords` are more options of Dash's `callback`."""
    if declaration.matches and declaration.outputs is None and not prevent_initial_call:
        raise InvalidEventCallback(
            f"{declaration.name!r} has MATCH in its Inputs and prevent_initial_call=False: Dash cannot call a callback "
            "with MATCH initially unless it has an Output that matches."
        )
    check_arguments(declaration.name, function, declaration)
    check_discarded(function, repr(declaration.name), stream_props, "write `yield stream_props(...)`")
    if not declaration.inputs and prevent_initial_call:
        raise InvalidEventCallback(
            f"{declaration.name!r} has no Input and prevent_initial_call=True: nothing would ever start it. Give it an "
            "Input, or let it start when the page is loaded."
        )
    first = None if declaration.outputs is None else str(declaration.outputs.flat[0])
    resumes = declaration.sharing is not None and declaration.sharing.resume
    component = CallbackComponent(
        _component_id(function),
        declaration.name,
        declaration.named_properties(),
        declaration.warn_of_doubtful_options(),
        first,
        resumes,
    )
    outputs: Any = []
    own_inputs: list[Any] = []
    if declaration.outputs is not None:
        outputs = declaration.outputs.grouping
    elif not prevent_initial_call:
        outputs = dash.Output(component, "start")
    if resumes or not outputs:
        # A page that resumes finds the callback by it, too: see `client/resume.js`.
        own_inputs = [dash.Input(f"{component.id}-never", "there", allow_optional=True)]
    if not declaration.inputs:
        # This Input is always in the layout and never changes: Dash calls the callback once, when the page is loaded.
        own_inputs = [*own_inputs, dash.Input(component, "id")] if resumes else [dash.Input(component, "id")]
        prevent_initial_call = False
    page = [dash.State(PAGE_ID, "secret"), dash.State(PAGE_ID, "token")]
    dependencies = StartDependencies(
        [*declaration.inputs, *own_inputs],
        [*declaration.states, *declaration.cancel_states, *declaration.watched_states.values(), *page],
    )
    register(
        output=outputs,
        inputs=dependencies.inputs,
        state=dependencies.states,
        prevent_initial_call=prevent_initial_call,
        **keywords,
    )(starter(function, declaration, dependencies, component.id))
    declared.add(component)
    return EventCallback[P, R](function, component, declaration)


def _component_id(function: Callable[..., Any]) -> str:
    """An id for the hidden component: the same in every process that declares the same callbacks in the same order."""
    base = "_flash-" + re.sub(r"[^A-Za-z0-9_]+", "-", f"{getattr(function, '__module__', '')}-{name_of(function)}")
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}-{_names[base]}"
