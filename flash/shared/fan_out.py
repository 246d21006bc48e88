"""Gives a value to all followers of a source; where they are many, other tasks may run in between."""

from __future__ import annotations

from collections.abc import Container

import trio

from .following import SourceFollower

AT_A_TIME = 64
"""How many followers are given a value before other tasks may run: that takes about a millisecond."""


async def give_to_many(followers: tuple[SourceFollower, ...], given: object, left: Container[SourceFollower]) -> None:
    """Give a value to many followers, and pass a checkpoint at the end.

    Who joins meanwhile has the value from the source's memory already.

    Args:
        followers: those of now.
        given: the value.
        left: those that still follow, at any time.
    """
    for index, follower in enumerate(followers, 1):
        if follower in left:
            follower.put(given)
        if index % AT_A_TIME == 0:
            # A cancellation must not keep the value from the followers that have not had it.
            await trio.lowlevel.cancel_shielded_checkpoint()
    await trio.lowlevel.checkpoint_if_cancelled()
