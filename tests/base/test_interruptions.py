from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pipeline.base.interruptions import SIGNALS, held, raise_on_signals


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_raises_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_termination_exits_with_its_status(number: signal.Signals, status: int) -> None:
    with pytest.raises(SystemExit) as stopped:
        signal.raise_signal(number)
    assert stopped.value.code == status


def test_what_nohup_has_started_goes_on_when_its_terminal_is_closed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_signals()
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)


def test_only_the_first_signal_counts() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)]
)
def test_a_signal_waits_until_what_is_held_is_done(number: signal.Signals, error: type[BaseException]) -> None:
    done = []

    def work() -> None:
        with held():
            with held():
                signal.raise_signal(number)
                done.append("inside")
            done.append("outside")

    with pytest.raises(error):
        work()
    assert done == ["inside", "outside"]


def test_of_signals_that_wait_the_first_counts() -> None:
    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_fails_while_a_signal_waits_is_not_hidden() -> None:
    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt) as stopped:
        work()
    assert isinstance(stopped.value.__context__, ZeroDivisionError)


def test_without_a_signal_nothing_happens() -> None:
    with held():
        pass
    with pytest.raises(ZeroDivisionError), held():
        raise ZeroDivisionError
