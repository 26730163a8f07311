"""Sizes that owners wish for elastic roles. The wish goes to the backend; the scheduler fulfils it."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from octopus_hub.core.scaling import wished_sizes
from octopus_hub.service.caught_up import caught_up
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.views import find, taskset_json


class ScaleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks by role; null takes a wish back."""

    sizes: dict[str, int | None]


class Scale(ApiHandler):
    """``.../scale``."""

    path: ClassVar[str] = "/tasksets/{ns}/{name}/scale"

    async def post(self, ns: str, name: str) -> None:
        """Write the wish, unless it holds already; refused in one sentence where it can't be fulfilled."""
        cache = self.service.cache
        taskset = find(cache, self.who, ns, name)
        sizes = wished_sizes(taskset, self.body_as(ScaleRequest).sizes)
        if sizes != taskset.metadata.sizes:
            taskset = await self.service.backend.update_intent(taskset.metadata.uid, sizes=sizes)
            await caught_up(cache, taskset, self.service.settings.caught_up_seconds)
        self.answer(taskset_json(cache.tasksets.get(taskset.metadata.uid, taskset)))
