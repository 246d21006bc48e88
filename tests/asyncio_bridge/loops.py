"""What tests ask of the asyncio event loop beside them."""

from __future__ import annotations

import asyncio

from flash import on_asyncio


@on_asyncio
async def tasks_left() -> list[str]:
    """The names of the tasks that the loop has, but for the one that asks."""
    # What has just answered needs a moment to be over.
    await asyncio.sleep(0)
    return [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
