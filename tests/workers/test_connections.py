"""Passing connections from the supervisor to its workers: real sockets, both ends in this process."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest
import trio

from flash.workers.connections import (
    HELD_UP_TIME,
    ConnectionReceiver,
    ConnectionSender,
    Counts,
    in_order_of_load,
    make_counts,
)
from tests.support.eventually import TIMEOUT


@dataclass
class Load:
    """What is known of a worker."""

    name: str
    held_up: bool = False
    open: int = 0
    last: int = 0


@dataclass
class Way:
    """The two ends."""

    sender: ConnectionSender
    receiver: ConnectionReceiver

    def send(self, listener: int = 0, number: int = 1) -> socket.socket:
        """Send a connection, and return the client's end of it."""
        client, accepted = socket.socketpair()
        with accepted:
            assert self.sender.send(accepted.fileno(), listener, number)
        return client


@pytest.fixture
def way() -> Iterator[Way]:
    ours, theirs = socket.socketpair()
    counts = make_counts()
    try:
        yield Way(ConnectionSender(ours, Counts(counts)), ConnectionReceiver(theirs, Counts(counts), (False, True)))
    finally:
        os.close(counts)
        ours.close()
        theirs.close()


def test_the_worker_with_the_fewest_connections_is_chosen() -> None:
    workers = [Load("many", open=3), Load("few", open=1), Load("some", open=2)]
    assert [worker.name for worker in in_order_of_load(workers)] == ["few", "some", "many"]


@pytest.mark.parametrize(("open_in_one", "open_in_two"), [(0, 1), (7, 8), (80, 91)])
def test_workers_with_about_as_many_take_turns(open_in_one: int, open_in_two: int) -> None:
    one, two = Load("one", open=open_in_one), Load("two", open=open_in_two)
    chosen: list[str] = []
    for number in range(1, 5):
        # The connection is closed before the next one comes.
        first = in_order_of_load([one, two])[0]
        first.last = number
        chosen.append(first.name)
    assert chosen == ["one", "two", "one", "two"]


@pytest.mark.parametrize(("open_in_one", "open_in_two"), [(0, 2), (7, 9), (80, 92)])
def test_a_worker_with_many_more_has_no_turn(open_in_one: int, open_in_two: int) -> None:
    one, two = Load("one", open=open_in_one, last=9), Load("two", open=open_in_two)
    assert [worker.name for worker in in_order_of_load([one, two])] == ["one", "two"]


def test_connections_that_stay_are_spread_evenly() -> None:
    workers = [Load(str(number)) for number in range(3)]
    for number in range(1, 31):
        first = in_order_of_load(workers)[0]
        first.last = number
        # Each third one is closed at once.
        first.open += number % 3 != 0
    assert max(worker.open for worker in workers) - min(worker.open for worker in workers) <= 2


def test_of_workers_with_as_many_the_one_is_chosen_that_has_waited_longest() -> None:
    workers = [Load("a", open=1, last=9), Load("b", open=1, last=7), Load("c", open=1, last=8)]
    assert [worker.name for worker in in_order_of_load(workers)] == ["b", "c", "a"]


def test_a_worker_that_takes_nothing_is_chosen_last_though_it_has_the_fewest() -> None:
    workers = [Load("stuck", held_up=True, open=1), Load("busy", open=1_000)]
    assert [worker.name for worker in in_order_of_load(workers)] == ["busy", "stuck"]


async def test_a_connection_arrives_with_the_kind_of_its_listening_socket(way: Way) -> None:
    for listener, secure in ((0, False), (1, True)):
        with way.send(listener) as client:
            connection, is_tls = await way.receiver.receive()
            with connection:
                assert is_tls is secure
                client.sendall(b"hello")
                assert connection.recv(5) == b"hello"
                # A process that the app starts must not hold a connection open.
                assert not connection.get_inheritable()


async def test_each_connection_is_prepared(way: Way) -> None:
    prepared: list[socket.socket] = []
    way.receiver.prepare = prepared.append
    with way.send():
        connection, _ = await way.receiver.receive()
        with connection:
            assert prepared == [connection]


async def test_the_supervisor_knows_how_many_are_open(way: Way) -> None:
    with way.send(number=5), way.send(number=6):
        assert (way.sender.open, way.sender.last) == (2, 6)
        (await way.receiver.receive())[0].close()
        assert way.sender.open == 2
        way.receiver.count_closed()
        assert way.sender.open == 1


async def test_a_worker_is_held_up_when_it_takes_nothing_for_some_time(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("flash.workers.connections.time.monotonic", lambda: now)
    with way.send(), way.send():
        assert not way.sender.held_up
        now += HELD_UP_TIME / 2
        (await way.receiver.receive())[0].close()
        now += HELD_UP_TIME / 2
        # It has taken one, so it goes on.
        assert not way.sender.held_up
        now += HELD_UP_TIME * 1.1
        assert way.sender.held_up
        for connection, _ in way.receiver.rest():
            connection.close()
        assert not way.sender.held_up
        now += HELD_UP_TIME * 2
        # When nothing waits, there is nothing to take.
        assert not way.sender.held_up
        with way.send():
            assert not way.sender.held_up
            way.receiver.close()


async def test_what_was_sent_is_received_after_the_supervisor_has_closed_its_end_and_then_nothing(way: Way) -> None:
    with way.send(), way.send():
        way.sender.close()
        for _ in range(2):
            assert not way.receiver.ended
            (await way.receiver.receive())[0].close()
        with pytest.raises(trio.EndOfChannel):
            await way.receiver.receive()
        assert way.receiver.ended
        assert list(way.receiver.rest()) == []


async def test_the_worker_waits_for_the_next_connection(way: Way) -> None:
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            (await way.receiver.receive())[0].close()
            nursery.cancel_scope.cancel()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with way.send(), trio.fail_after(TIMEOUT):
            await trio.sleep_forever()


def test_a_connection_is_not_sent_to_a_worker_that_is_dead_or_has_no_room(way: Way) -> None:
    client, accepted = socket.socketpair()
    with client, accepted:
        sent = 0
        while way.sender.send(accepted.fileno(), 0, 1):
            sent += 1
            assert sent < 100_000
        assert way.sender.open == sent
        for connection, _ in way.receiver.rest():
            connection.close()
        way.receiver.close()
        assert not way.sender.send(accepted.fileno(), 0, 1)
        way.sender.close()
        assert not way.sender.send(accepted.fileno(), 0, 1)


@contextlib.contextmanager
def no_more_descriptors() -> Generator[None]:
    """Let this process open no file more than it has."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_a_worker_without_descriptors_receives_connections_when_it_has_some_again(
    way: Way, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried_again = trio.Event()

    async def sleep(seconds: float) -> None:
        tried_again.set()
        await trio.lowlevel.checkpoint()

    with way.send() as client:
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                connection, _ = await way.receiver.receive()
                with connection:
                    client.sendall(b"hello")
                    assert connection.recv(5) == b"hello"

            with no_more_descriptors():
                monkeypatch.setattr("flash.workers.connections.trio.sleep", sleep)
                nursery.start_soon(receive)
                await tried_again.wait()
                assert "A connection cannot be received: Too many open files." in caplog.text
                assert way.sender.open == 1
        assert list(way.receiver.rest()) == []


def test_a_connection_without_room_for_its_descriptor_is_counted_as_closed(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    with way.send(), no_more_descriptors():
        # Another thread takes the last descriptor between this look and the connection.
        monkeypatch.setattr("flash.workers.connections.os.dup", lambda descriptor: -1)
        monkeypatch.setattr("flash.workers.connections.os.close", lambda descriptor: None)
        assert list(way.receiver.rest()) == []
    assert way.sender.open == 0
