"""Port numbers that are free, not taken, and different each time."""

from __future__ import annotations

import socket

import pytest

from octopus_hub.backends.local.ports import PortPool, bindable
from octopus_hub.model.errors import Unavailable


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not bindable(port)
    assert bindable(port)


def test_takes_around_what_is_taken_or_bound() -> None:
    pool = PortPool(100, 109, free=lambda port: port != 103)
    assert pool.take(3, {100}) == [101, 102, 104]
    assert pool.take(3, {101, 102, 104}) == [105, 106, 107]  # goes on: a freed number rests
    assert pool.take(3, set()) == [108, 109, 100]
    assert pool.take(0, set()) == []


def test_says_when_the_range_is_used_up() -> None:
    pool = PortPool(100, 102, free=lambda port: True)
    with pytest.raises(Unavailable, match="only 2 of 3 ports are free between 100 and 102"):
        pool.take(3, {101})


def test_the_real_range() -> None:
    ports = PortPool().take(5, set())
    assert len(set(ports)) == 5 and all(20000 <= port <= 29999 for port in ports)
