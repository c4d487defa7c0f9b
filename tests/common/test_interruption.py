"""Signals are requests to stop: answered at once, or by who has deferred them; sent twice, they are one request."""

# ruff: noqa: PT012 - what happens within the blocks is what is tested

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from sparsebench.common import interruption
from sparsebench.common.interruption import Interrupted, Stopped, deferred, handled

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
every = pytest.mark.parametrize("number", interruption.SIGNALS)


@pytest.fixture(autouse=True)
def as_they_were() -> Iterator[None]:
    ignored = [number for number in interruption.SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:  # as a shell leaves some for what it runs in the background
        signal.signal(number, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    interruption.clear()
    yield
    assert {number: signal.getsignal(number) for number in interruption.SIGNALS} == before
    assert not interruption.stop_requested()
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@every
def test_a_signal_ends_what_is_done_at_once(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as caught, handled():
        send(number)
        raise AssertionError("it goes on")
    assert caught.value.number == number
    assert isinstance(caught.value, KeyboardInterrupt)


@every
def test_a_deferred_signal_is_answered_by_the_block(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as caught, handled(), deferred():
        interruption.check()
        send(number)
        assert interruption.stop_requested()
        interruption.check()
    assert caught.value.number == number


def test_what_is_done_before_it_can_answer_is_kept() -> None:
    kept = []
    with pytest.raises(Interrupted), handled():
        with deferred():
            send(signal.SIGTERM)
        kept.append("the record")
        interruption.check()
        raise AssertionError("it goes on")
    assert kept
    with pytest.raises(Interrupted), handled(), deferred():
        send(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sent_twice_is_one_request(number: signal.Signals) -> None:
    with pytest.raises(Interrupted), handled(), deferred():
        for _ in range(3):
            send(number)
            time.sleep(0.06)
        interruption.check()
    cleaned = False
    with pytest.raises(Interrupted), handled():
        try:
            send(number)
        finally:
            send(number)
            cleaned = True
    assert cleaned


def test_a_second_key_doesnt_wait_but_an_echo_does() -> None:
    with pytest.raises(Interrupted), handled(), deferred():
        send(signal.SIGINT)
        send(signal.SIGINT)  # to the process and to its group
        time.sleep(0.15)
        send(signal.SIGINT)
        raise AssertionError("it waits")


def test_what_is_ignored_or_handled_by_others_stays_so() -> None:
    seen: list[int] = []
    before = [signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, lambda n, _: seen.append(n))]
    try:
        with handled(), deferred():
            send(signal.SIGHUP)
            send(signal.SIGTERM)
            assert not interruption.stop_requested()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_a_request_that_is_no_signal_is_a_stop() -> None:
    interruption.request_stop("as asked")
    with pytest.raises(Stopped, match="as asked"), handled(), deferred():
        interruption.check()
    interruption.clear()


def test_other_threads_change_nothing() -> None:
    def work() -> None:
        with handled(), deferred():
            pass

    thread = threading.Thread(target=work)
    with pytest.raises(Interrupted), handled():
        thread.start()
        thread.join()
        send(signal.SIGTERM)
