"""What there is to run on: nodes, priority classes, images; and what a TaskSet would get of it (``/plan``)."""

from __future__ import annotations

import asyncio
import logging

from octopus_hub.backends.base import Image
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.queue import DEFAULT_PRIORITIES
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.plan import what_if
from octopus_hub.service.reservationview import ReservationFigures

log = logging.getLogger(__name__)


class Nodes(ApiHandler):
    """``/nodes``: the nodes, and beside them what is used of each."""

    path = "/nodes"

    async def get(self) -> None:
        """Every node; what runs there stays its owner's business."""
        cache = self.service.cache
        figures = ReservationFigures(cache, self.who, await self.service.backend.now())
        used = cache.snapshot().usage.nodes
        nodes = sorted(cache.nodes.values(), key=lambda node: node.name)
        taken = {node.name: used[node.name] for node in nodes if node.name in used}
        self.answer({"items": nodes, "used": taken, "states": figures.node_states()})


class Priorities(ApiHandler):
    """``/priorities``."""

    path = "/priorities"

    async def get(self) -> None:
        """The classes, highest first."""
        known = list(self.service.cache.priorities.values()) or list(DEFAULT_PRIORITIES)
        self.answer({"items": sorted(known, key=lambda each: -each.value)})


class Images(ApiHandler):
    """``/images``."""

    path = "/images"

    async def get(self) -> None:
        """The default and the named environments, with their digests."""
        names = dict.fromkeys(["", *self.service.settings.image_names])
        resolving = (self.service.backend.resolve_image(name) for name in names)
        found = await asyncio.gather(*resolving, return_exceptions=True)
        images = [image for image in found if isinstance(image, Image)]
        for error in found:
            if isinstance(error, OctopusError):
                log.warning("an environment is not listed: %s", error)
            elif isinstance(error, BaseException):
                raise error
        items = {
            image.name: {
                "name": image.name,
                "digest": image.digest,
                "python": image.environment.python,
                "default": image is found[0],
            }
            for image in images
        }
        self.answer({"items": list(items.values())})


class Plan(ApiHandler):
    """``/plan``."""

    path = "/plan"

    async def post(self) -> None:
        """Say whether it would run now; nothing is stored."""
        taskset = await self.service.submission.prepare(self.document(), self.who)
        self.answer(await what_if(self.service.cache, self.service.submission, taskset, self.who))
