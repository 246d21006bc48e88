"""Decides when a page is gone, and when it is to be pinged.

A page is gone when it has no link for `reconnect_grace`, or at first for `start_timeout`. It is also gone when it has
one, and has not acknowledged for `stall_timeout` what it was sent, or the `ping` that asked it to: so an idle page is
noticed, too.

A page whose link comes straight from its browser may have longer. If everything has arrived there the page is alive,
though its script does not get to run, or its acknowledgements do not get through. But not if another page over the same
link acknowledges meanwhile: then it is this page that is silent, not its browser.

A page has one timer: `wait_until_gone` wakes up for the earliest of its deadlines.
"""

from __future__ import annotations

from math import inf

import trio

from .. import ticks
from . import pauses
from .limits import PageLimits
from .link import Attachment
from .outbox import Outbox

RECHECK_INTERVAL = 0.1
"""Seconds between two checks of a page that is past its deadline, and has not received all that it was sent."""

RECHECKS = 10
"""After how many such checks the page is given up."""

STALL_FACTOR = 10
"""A page that receives what it is sent, but acknowledges nothing, is given up after so many times `stall_timeout`.

This holds while it was sent less than what it is asked to acknowledge; else it is given up after `stall_timeout`.
"""


PRECISION = 0.1
"""Seconds by which a page may be pinged, or given up, too late, so that many pages share one timer."""


class Liveness:
    """Whether one page is still there.

    Attributes:
        attachment: the link that the page has; None if it has none.
        confirmed_at: when the page last acknowledged something, on Trio's clock.
        had_link: it has, or has had one.
    """

    __slots__ = (
        "_asked_at",
        "_is_over",
        "_limits",
        "_link_timeout",
        "_lost_at",
        "_outbox",
        "_rechecks",
        "_resumes",
        "_waking",
        "attachment",
        "confirmed_at",
        "had_link",
    )

    def __init__(self, outbox: Outbox, limits: PageLimits) -> None:
        self.attachment: Attachment | None = None
        self.confirmed_at: float = -inf
        self.had_link: bool = False
        self._outbox = outbox
        self._limits = limits
        self._lost_at = trio.current_time()
        # A page that starts a stream before it has a link has so long to open one.
        self._link_timeout = limits.start_timeout
        # When it was sent the first of the pings that it has not answered.
        self._asked_at: float | None = None
        self._rechecks = 0
        # How often it got more time for a pause of the process since its last sign of life.
        self._resumes = 0
        self._is_over = False
        # Wakes the task in `wait_until_gone` while it waits. A cancel scope would take half a KiB of every page.
        self._waking: ticks.Waking | None = None

    @property
    def was_lost(self) -> bool:
        """Whether it has no link, and not a silent one."""
        return self.attachment is None

    def attached(self, attachment: Attachment) -> None:
        """The page has a link."""
        self.attachment = attachment
        self.had_link = True
        self._asked_at = None
        self._resumes = 0
        self._wake()

    def detached(self) -> None:
        """The page has no link any more; it may come back within `reconnect_grace`."""
        self.attachment = None
        self._lost_at = trio.current_time()
        self._link_timeout = self._limits.reconnect_grace
        self._resumes = 0
        self._wake()

    def asked(self) -> None:
        """The page is being asked for an acknowledgement."""
        if self._asked_at is None:
            self._asked_at = trio.current_time()
        self._wake()

    def confirmed(self) -> None:
        """The page has acknowledged something."""
        self.confirmed_at = trio.current_time()
        self._asked_at = None
        self._resumes = 0

    def end(self) -> None:
        """Have `wait_until_gone` return: the channel closes for another reason."""
        self._is_over = True
        self._wake()

    async def wait_until_gone(self) -> bool:
        """Wait until the page is gone, and have it pinged meanwhile; False after `end`."""
        wake_at, resume_deadline = inf, -inf
        while not self._is_over:
            now = trio.current_time()
            if pauses.slept_past(wake_at) and self._resumes < pauses.MAX_RESUMES:
                # What the page has sent during the pause is not read yet.
                self._resumes += 1
                resume_deadline = now + pauses.RESUME_TIMEOUT
            deadline = max(self._deadline(now), resume_deadline)
            if deadline <= now:
                deadline = now + self._extra_time(now)
            if deadline <= now:
                return True
            attachment = self.attachment
            if attachment is not None and not attachment.ping_due:
                ping_at = attachment.pinged_at + self._limits.ping_interval
                if ping_at <= now:
                    attachment.ping_due = True
                    attachment.wake()
                else:
                    deadline = min(deadline, ping_at)
            wake_at = ticks.rounded_up(deadline, PRECISION)
            self._waking = ticks.wake_at(wake_at)
            await trio.lowlevel.wait_task_rescheduled(self._waking)
            self._waking = None
        return False

    def _wake(self) -> None:
        if self._waking is not None:
            self._waking.reschedule()

    def _silent_since(self) -> float:
        """Since when the page owes an acknowledgement; infinity if it owes none."""
        since = inf if self._asked_at is None else self._asked_at
        return min(since, self._outbox.progress_at) if self._outbox.unacknowledged else since

    def _deadline(self, now: float) -> float:
        if self.attachment is None:
            return self._lost_at + self._link_timeout
        since = self._silent_since()
        return (now if since == inf else since) + self._limits.stall_timeout

    def _extra_time(self, now: float) -> float:
        """Seconds that a page still gets which has acknowledged nothing by its deadline; 0 if it is gone."""
        if self.attachment is None or self.attachment.link.linked_browser is None:
            return 0
        link, since = self.attachment.link, self._silent_since()
        if any(other.channel.confirmed_at > since for other in link.attachments if other is not self.attachment):
            return 0
        assert link.linked_browser is not None
        if not link.linked_browser.has_taken_all():
            # It may be that something was sent just now: check again.
            self._rechecks += 1
            return RECHECK_INTERVAL if self._rechecks < RECHECKS else 0
        self._rechecks = 0
        stall_timeout = STALL_FACTOR * self._limits.stall_timeout
        is_waited_for = self._outbox.needs_no_acknowledgement and now < since + stall_timeout
        return RECHECKS * RECHECK_INTERVAL if link.linked_browser.has_open_request() or is_waited_for else 0
