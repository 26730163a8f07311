"""Reserved port numbers for tasks of this machine.

Gives numbers that can be bound now and are not in the caller's set of taken ones; the caller (the local backend's
facade) keeps the reservation in its store. Knows nothing about tasks.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from octopus_hub.model.errors import Unavailable

FIRST, LAST = 20000, 29999


def bindable(port: int) -> bool:
    """Say whether a listener could take the port on every address right now."""
    for family, host in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
        except OSError:
            if family == socket.AF_INET:
                return False  # a machine without IPv6 refuses the second try whatever the port
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as peer:
                if peer.connect_ex(("127.0.0.1", port)) == 0:
                    return False
    return True


class PortPool:
    """Hands out port numbers of a range, each new request further on, so that a freed number rests a while."""

    def __init__(self, first: int = FIRST, last: int = LAST, free: Callable[[int], bool] = bindable) -> None:
        self._first, self._last = first, last
        self._free = free
        self._next = first

    def take(self, count: int, taken: set[int]) -> list[int]:
        """Return ``count`` different ports outside ``taken``; raises Unavailable when the range is used up."""
        found: list[int] = []
        for _ in range(self._last - self._first + 1):
            if len(found) == count:
                break
            port = self._next
            self._next = port + 1 if port < self._last else self._first
            if port not in taken and self._free(port):
                found.append(port)
        if len(found) < count:
            raise Unavailable(
                f"only {len(found)} of {count} ports are free between {self._first} and {self._last}; "
                "stop TaskSets that run, or wait until they end"
            )
        return found
