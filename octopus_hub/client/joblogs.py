"""The log of one task as a job gives it: lines to iterate over, text to print, a stream that a cell shows.

Reads what the service answers; knows nothing of files.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import TYPE_CHECKING

from octopus_hub.client.calls import LogQuery

if TYPE_CHECKING:
    from octopus_hub.client.job import Job


class Logs:
    """The log of one task. Each iteration reads it anew."""

    def __init__(self, job: Job, query: LogQuery) -> None:
        self._job = job
        self._query = query

    def __iter__(self) -> Iterator[str]:
        try:
            yield from lines_of(self._job.client.logs(self._job.name, self._query, self._job.namespace))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the reading has ended; {self._job.name} goes on") from None

    def __str__(self) -> str:
        return "".join(self)

    def __repr__(self) -> str:
        return str(self)

    def _ipython_display_(self) -> None:
        import sys

        for line in self:
            sys.stdout.write(line)
            sys.stdout.flush()


def lines_of(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield lines with their ends, the last one perhaps without; bytes that are not UTF-8 are shown as such."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    parts: list[str] = []  # of a line that is not complete yet
    for chunk in chunks:
        *lines, rest = decoder.decode(chunk).split("\n")
        for line in lines:
            yield "".join([*parts, line, "\n"])
            parts.clear()
        parts.append(rest)
    last = "".join([*parts, decoder.decode(b"", final=True)])
    if last:
        yield last
