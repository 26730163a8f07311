"""``/queues`` and ``/cohorts``: looking for everybody, changing for administrators. Changes count from the next cycle.

A definition that is put here wins over the configuration file until it is reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from octopus_hub.core.policies import POLICIES
from octopus_hub.model.errors import NotFound
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.queuerules import document_of, merged, parse_cohort, parse_queue
from octopus_hub.service.caught_up import until
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.queueview import QueueFigures
from octopus_hub.service.views import shown

Kind = TypeVar("Kind")


class _Handler(ApiHandler):
    async def figures(self) -> QueueFigures:
        """Return the figures of now, for the caller."""
        return QueueFigures(self.service.cache, self.who, await self.service.backend.now())

    async def shown_as(self, known: Mapping[str, Any], name: str, wanted: Any) -> None:
        """Wait until the cache has what was written."""
        await until(self.service.cache, lambda: known.get(name) == wanted, self.service.settings.caught_up_seconds)


class Queues(_Handler):
    """``/queues``: each queue with its usage, the caller's part of it, and its board."""

    path = "/queues"

    async def get(self) -> None:
        """Every queue, by name."""
        figures = await self.figures()
        queues = self.service.cache.queues
        self.answer({"items": [figures.queue(queues[name]) for name in sorted(queues)]})


class OneQueue(_Handler):
    """``/queues/{name}``."""

    path = "/queues/{name}"

    async def get(self, name: str) -> None:
        """One queue as in the list."""
        self.answer((await self.figures()).queue(self._known(name)))

    async def put(self, name: str) -> None:
        """Define a queue."""
        await self._write(parse_queue(self.document(), name, POLICIES))

    async def patch(self, name: str) -> None:
        """Change some fields (JSON merge patch); null takes one back to its default."""
        document = merged(document_of(self._known(name)), self.document())
        await self._write(parse_queue(document, name, POLICIES))

    async def delete(self, name: str) -> None:
        """Remove a queue that nothing uses."""
        await self.service.backend.delete_queue(name)
        await self.shown_as(self.service.cache.queues, name, None)
        self.set_status(204)

    async def _write(self, queue: Queue) -> None:
        await self.service.backend.put_queue(queue)
        await self.shown_as(self.service.cache.queues, queue.name, queue)
        self.answer((await self.figures()).queue(queue))

    def _known(self, name: str) -> Queue:
        return _found(self.service.cache.queues, name, "queue")


class ResetQueue(_Handler):
    """``/queues/{name}/reset``."""

    path = "/queues/{name}/reset"

    async def post(self, name: str) -> None:
        """Go back to the definition of the configuration file."""
        await self.service.backend.reset_queue(name)
        (declared,) = (
            each for each in await self.service.backend.declared() if isinstance(each, Queue) and each.name == name
        )
        await self.shown_as(self.service.cache.queues, name, declared)
        self.answer((await self.figures()).queue(declared))


class Cohorts(_Handler):
    """``/cohorts``."""

    path = "/cohorts"

    async def get(self) -> None:
        """Every cohort, by name, with its members and their use."""
        figures = await self.figures()
        cohorts = self.service.cache.cohorts
        self.answer({"items": [figures.cohort(cohorts[name]) for name in sorted(cohorts)]})


class OneCohort(_Handler):
    """``/cohorts/{name}``."""

    path = "/cohorts/{name}"

    async def get(self, name: str) -> None:
        """One cohort as in the list."""
        self.answer((await self.figures()).cohort(self._known(name)))

    async def put(self, name: str) -> None:
        """Define a cohort."""
        await self._write(parse_cohort(self.document(), name))

    async def patch(self, name: str) -> None:
        """Change some fields (JSON merge patch); null takes one back to its default."""
        await self._write(parse_cohort(merged(document_of(self._known(name)), self.document()), name))

    async def delete(self, name: str) -> None:
        """Remove a cohort without members."""
        await self.service.backend.delete_cohort(name)
        await self.shown_as(self.service.cache.cohorts, name, None)
        self.set_status(204)

    async def _write(self, cohort: Cohort) -> None:
        await self.service.backend.put_cohort(cohort)
        await self.shown_as(self.service.cache.cohorts, cohort.name, cohort)
        self.answer((await self.figures()).cohort(cohort))

    def _known(self, name: str) -> Cohort:
        return _found(self.service.cache.cohorts, name, "cohort")


class ResetCohort(_Handler):
    """``/cohorts/{name}/reset``."""

    path = "/cohorts/{name}/reset"

    async def post(self, name: str) -> None:
        """Go back to the definition of the configuration file."""
        await self.service.backend.reset_cohort(name)
        (declared,) = (
            each for each in await self.service.backend.declared() if isinstance(each, Cohort) and each.name == name
        )
        await self.shown_as(self.service.cache.cohorts, name, declared)
        self.answer((await self.figures()).cohort(declared))


def _found(known: Mapping[str, Kind], name: str, what: str) -> Kind:
    found = known.get(name)
    if found is None:
        raise NotFound(f"there is no {what} {shown(name)}; see `octopus {what}s`")
    return found
