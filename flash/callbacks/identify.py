"""Asks the app whose a request is: calls the function that was given as `Flash(identify=...)`.

It is called in each request that starts a stream, before anything else is done for it. An async function runs in the
request's task, a plain one in a thread: it may look into a database. What it raises refuses that start, and nothing
else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import trio
from werkzeug.exceptions import HTTPException

from ..errors import InvalidOption, RequestRefused
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.failures import read_failure
from ..user_code.functions import parameters_of, takes
from ..user_code.threads import in_thread

_log = logging.getLogger("flash.streams")

THREADS = 40
"""How many plain functions run at a time. A start beyond that waits; callbacks have threads of their own."""


class Identify:
    """The function that says whose a request is, and how it is called."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        """
        Args:
            function: of the request, plain or async; returns a string, or None for nobody.

        Raises:
            InvalidOption: it cannot be called with one argument.
        """
        if not callable(function):
            raise InvalidOption(f"identify= of Flash(...) is to be a function of the request, got {function!r}.")
        if not takes(function, None):
            raise InvalidOption(
                "identify= of Flash(...) is called with one argument, the request, which it does not take: it has the "
                f"parameters {parameters_of(function)}."
            )
        self._ask = function
        if not iscoroutinefunction(function):
            self._ask = in_thread(function, trio.CapacityLimiter(THREADS))

    async def user_of(self, request: Any, callback: str) -> str | None:
        """Whose a request is.

        Args:
            request: of Quart; over a websocket the websocket, whose handshake it is.
            callback: the name of the event callback that it is to start, for messages.

        Raises:
            RequestRefused: it was not to be found out, so that nothing is started. The status is that of an
                HTTPException, as Quart's `abort` raises it, else 500.
        """
        try:
            user: object = await self._ask(request)
        except BaseException as error:
            cancelled, failure = split_cancellation(error)
            if cancelled is not None:
                raise cancelled from None
            assert failure is not None
            raise _refused(read_failure(failure), callback) from None
        if user is None:
            return None
        if not isinstance(user, str):
            wanted, kind = "It is to return a string, or None for nobody", user.__class__.__name__
            _log.error(
                "%r was not started: identify= of Flash(...) has returned something of the type %s. %s.",
                callback,
                kind,
                wanted,
            )
            raise RequestRefused(
                500,
                f"{callback!r} was not started: identify= of Flash(...) has returned something of the type {kind}. "
                f"{wanted}.",
            )
        # What stands for a string, such as a proxy of a request's, is not to outlive the request.
        return str(user)


def _refused(error: BaseException, callback: str) -> RequestRefused:
    message = f"{callback!r} was not started: the app does not say whose the request is."
    if isinstance(error, HTTPException) and error.code is not None:
        _log.info("%s identify= has answered %s.", message, error.code)
        return RequestRefused(error.code, message)
    log_failure(_log, error, "%r was not started: identify= of Flash(...) raised.", callback)
    return RequestRefused(500, message)
