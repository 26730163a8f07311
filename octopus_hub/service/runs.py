"""What the service needs of ``octopus_hub.runs``: archives of a record, and the document that runs it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from octopus_hub.model.record import Record
from octopus_hub.model.taskset import TaskSet


class Runs(Protocol):
    """Reads records; see the methods."""

    def outputs(self, record: Record) -> AsyncIterator[bytes]:
        """Yield a tar.gz archive of the outputs, each under its path in the record; raises NotFound before any byte."""

    def crate(self, record: Record) -> AsyncIterator[bytes]:
        """Yield a zip archive of the record as a research object crate; raises NotFound before any byte."""

    async def replay(self, record: Record) -> TaskSet:
        """Return the document that runs the record again with the same images, code, inputs, parameters and seed.

        Raises InvalidSpec with every digest that can't be had any more.
        """
