"""A component that notes each value that it is drawn with, as its effects see them."""

from __future__ import annotations

from typing import Any

from dash.development.base_component import Component
from playwright.sync_api import Page

from flash import Flash


class Witness(Component):
    """Notes each `value` that it is drawn with."""

    _children_props: list[str] = []
    _base_nodes = ["children"]
    _namespace = "flash_tests"
    _type = "Witness"
    _prop_names = ["id", "value", "other"]
    _valid_wildcard_attributes: list[str] = []
    available_properties = _prop_names
    available_wildcard_properties: list[str] = []

    def __init__(self, id: Any) -> None:
        super().__init__(id=id)


SCRIPT = """
<script>
    window.seen = {};
    window.flash_tests = {
        Witness: ({id, value}) => {
            React.useEffect(() => {
                if (value !== undefined) {
                    (seen[id] = seen[id] || []).push(value);
                }
            }, [value]);
            return React.createElement('i', {id}, JSON.stringify(value));
        }
    };
</script>
"""


def with_witnesses(app: Flash) -> Flash:
    """`app`, whose pages can draw Witnesses."""
    app.index_string = app.index_string.replace("</head>", SCRIPT + "</head>")
    return app


def seen_by(page: Page, component: str) -> list[Any]:
    """What a Witness has been drawn with so far."""
    return page.evaluate("id => seen[id] || []", component)


def hide(page: Page) -> None:
    """Let the page see itself as in a tab behind another: hidden, and without frames."""
    page.evaluate(
        """() => {
            Object.defineProperty(document, 'hidden', {get: () => true});
            window.requestAnimationFrame = () => 0;
        }"""
    )
