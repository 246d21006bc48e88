"""Looking for objects runs none of their code."""

from __future__ import annotations

from tests.support.live_objects import live_objects


class Sought:
    pass


class LazyProxy:
    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise AssertionError("a lazy proxy was asked what it stands for")


def test_a_lazy_proxy_is_passed_by() -> None:
    kept = (LazyProxy(), Sought())
    assert live_objects(Sought) == [kept[1]]
