from __future__ import annotations

import os
import signal

import pytest

from aligndiff.core.exits import interrupt_later


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_press_waits_until_the_end() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), interrupt_later() as pressed:
        assert not pressed()
        press()
        steps.append(pressed())
    assert steps == [True]


def test_the_second_press_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_later():
        press()
        press()
        pytest.fail("went on after the second press")


def test_ctrl_c_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupt_later() as pressed:
        assert not pressed()
    assert signal.getsignal(signal.SIGINT) is before
