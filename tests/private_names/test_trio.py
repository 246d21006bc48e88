"""The undocumented names of Trio that Flash uses: an upgrade that drops one fails here, by name."""

from __future__ import annotations

import ssl
import threading
from math import inf

import trio
import trio.testing
import trustme
from trio.testing import MockClock

from flash._trio import (
    OpenScopes,
    TlsWriter,
    forget_cancellation,
    is_cancelled,
    is_cancelled_from_outside,
    is_over,
    leave_scopes,
)
from tests.support.eventually import TIMEOUT


async def test_trio_still_says_of_a_task_that_it_is_cancelled(autojump_clock: MockClock) -> None:
    task = trio.lowlevel.current_task()

    def agrees() -> bool:
        return is_cancelled(task) is (trio.current_effective_deadline() == -inf)

    assert not is_cancelled(task)
    with trio.move_on_after(1) as outer:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            assert is_cancelled(task)
            with trio.CancelScope(shield=True) as shield:
                await trio.lowlevel.checkpoint()
                assert agrees()
                assert not is_cancelled(task)
                shield.shield = False
                assert agrees()
                assert is_cancelled(task)
        assert not is_cancelled(task)
        await trio.sleep_forever()
    assert outer.cancelled_caught
    assert agrees()
    assert not is_cancelled(task)
    with trio.CancelScope(deadline=-inf):
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert agrees()
        assert is_cancelled(task)


async def test_trio_still_lets_a_thread_forget_a_cancellation() -> None:
    cancelled = threading.Event()
    log: list[str] = []

    def work() -> None:
        cancelled.wait(10)
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            log.append("cancelled")
        forget_cancellation()
        trio.from_thread.check_cancelled()
        log.append("forgotten")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        cancelled.set()
    assert log == ["cancelled", "forgotten"]


async def test_trio_still_lets_the_scopes_of_a_task_be_left_from_outside_of_their_blocks(
    autojump_clock: MockClock,
) -> None:
    task = trio.lowlevel.current_task()
    before = OpenScopes.of(task)
    assert before.since(task) == []
    scope = trio.CancelScope()
    scope.__enter__()
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    [child] = nursery.child_tasks
    assert before.since(task) == [nursery.cancel_scope, scope]
    assert not is_cancelled_from_outside(nursery.cancel_scope)
    scope.cancel()
    assert is_cancelled_from_outside(nursery.cancel_scope)
    assert await leave_scopes(before) == []
    assert OpenScopes.of(task) == before
    assert is_over(child)
    assert not is_over(task)
    await trio.lowlevel.checkpoint()


async def test_trio_still_sends_over_tls_what_was_encrypted_beside_it() -> None:
    authority = trustme.CA()
    served, trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("here").configure_cert(served)
    authority.configure_trust(trusted)
    left, right = trio.socket.socketpair()
    server = trio.SSLStream(trio.SocketStream(left), served, server_side=True)
    client = trio.SSLStream(trio.SocketStream(right), trusted, server_hostname="here")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        await server.do_handshake()
    writer = TlsWriter(server)
    # Until the first `send_all` there may be session tickets, which Trio holds back.
    await server.send_all(b"sent ")
    assert not writer.busy
    assert writer.write(b"written ")
    expected, piece = b"sent written ", b"?" * 10_000
    while writer.write(piece):
        expected += piece
    expected += piece
    received = b""
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.flush)
            await trio.testing.wait_all_tasks_blocked()
            assert writer.busy
            while len(received) < len(expected):
                received += await client.receive_some()
    assert received == expected
    await trio.aclose_forcefully(server)
    await trio.aclose_forcefully(client)
