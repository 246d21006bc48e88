"""Defines the hidden components that Flash appends to the layout of an app with event callbacks.

A `CallbackComponent` shows the page the status of one event callback; the `Page` tells the server which page a request
is from. The scripts in `client/` render them, so they need no bundle of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from .._dash import TypedComponent, hidden_component
from ..asgi import hub_script
from ..asgi.page_secret import PAGE_ID, token_of
from ..asgi.tokens import new_token


@hidden_component(
    "id", "status", "error", "statuses", "start", "refused", "name", "declared", "mistakes", "output", "resumes"
)
class CallbackComponent(TypedComponent):
    """The streams of one event callback, for use in an Input or State: `Input(my_callback.stream, "status")`.

    Properties:
        status: `idle`, `running`, or the reason of the last end.
        error: the message of the last end if it was `failed`, of a start that was refused, or why the page has no
            link; null otherwise. Without dev tools it says nothing of an exception.
        statuses: for a callback with MATCH: a dict from the matched values, as JSON with sorted keys such as
            `{"index":1}`, to `{"status": ..., "error": ...}`.
    """

    id: str
    name: str

    def __init__(
        self,
        id: str,
        name: str = "",
        declared: Sequence[Any] = (),
        mistakes: Sequence[str] = (),
        output: str | None = None,
        resumes: bool = False,
    ) -> None:
        """What is to be shown of an event callback.

        Args:
            id: of the component.
            name: what messages call the event callback.
            declared: `[option, id, property]` for what its options name.
            mistakes: what the dev tools are to say of them.
            output: the first of its Outputs, by which Dash knows a streaming callback; None if it has none.
            resumes: a page that is loaded asks for its run that is still going.
        """
        checks = {"name": name, "declared": list(declared), "mistakes": list(mistakes), "output": output}
        super().__init__(id=id, status="idle", error=None, statuses={}, resumes=resumes, **checks)


@hidden_component("id", "token", "secret", "hub")
class Page(TypedComponent):
    """One load of the app in one browser tab. It is given a new secret each time that a layout is served.

    Properties:
        token: names the page.
        secret: proves the page.
        hub: the last part of the address of the hub's script.
    """

    def __init__(self) -> None:
        super().__init__(id=PAGE_ID)

    def to_plotly_json(self) -> dict[str, Any]:
        described = cast("dict[str, Any]", super().to_plotly_json())
        secret = new_token()
        described["props"].update(token=token_of(secret), secret=secret, hub=hub_script.name())
        return described
