"""The metrics: all that happens to streams is measured, and `docs/deployment.md` lists what is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import flash
from flash.server.metrics import Metrics
from flash.streams.observer import Observer

PACKAGE = Path(flash.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "deployment.md"
CALLS = [name for name in vars(Observer) if not name.startswith("_")]


@pytest.mark.parametrize("call", CALLS)
def test_an_observer_is_called_and_the_metrics_take_the_call(call: str) -> None:
    assert call in vars(Metrics)
    assert any(f"observer.{call}(" in path.read_text() for path in PACKAGE.rglob("*.py"))


def test_the_document_has_every_metric_and_no_other() -> None:
    exposed = Metrics(list, lambda: 0).expose().decode()
    names = [family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(exposed)]
    own = [name for name in names if not name.endswith("_created")]
    assert sorted(re.findall(r"^\| `(flash_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)) == sorted(own)
