"""What fault tests see in a page that a browser has open."""

from __future__ import annotations

from playwright.sync_api import Page


def prop_of(page: Page, component_id: str, name: str) -> object:
    """A property of a component, as the page has it now."""
    return page.evaluate(
        "([id, name]) => dash_component_api.getLayout(id)?.props?.[name] ?? null", [component_id, name]
    )
