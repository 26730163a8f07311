"""What there is to run on: nodes, queues, priority classes, images; and what a TaskSet would get of it (``/plan``)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from octopus_hub.backends.base import Image
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.queue import DEFAULT_PRIORITIES
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.plan import what_if
from octopus_hub.service.views import redacted

log = logging.getLogger(__name__)
_plain = msgspec.to_builtins


class Nodes(ApiHandler):
    """``/nodes``: the nodes, and beside them what is used of each."""

    path = "/nodes"

    async def get(self) -> None:
        """Every node; what runs there stays its owner's business."""
        cache = self.service.cache
        used = cache.snapshot().usage.nodes
        nodes = sorted(cache.nodes.values(), key=lambda node: node.name)
        self.answer({"items": nodes, "used": {node.name: used[node.name] for node in nodes if node.name in used}})


class Queues(ApiHandler):
    """``/queues``: each queue with its usage, the caller's part of it, and its board."""

    path = "/queues"

    async def get(self) -> None:
        """Every queue. The board names only what the caller may see; the others are a number."""
        self.answer({"items": [self._queue(name) for name in sorted(self.service.cache.queues)]})

    def _queue(self, name: str) -> dict[str, Any]:
        cache, who = self.service.cache, self.who
        usage = cache.snapshot().usage
        board = cache.boards.get(name)
        places: list[Any] = []
        for place in board.places if board else ():
            taskset = cache.tasksets.get(place.uid)
            if taskset is not None and (who.admin or taskset.metadata.namespace == who.namespace):
                told = place if who.admin else redacted(place, taskset.metadata.namespace)
                places.append({"taskset": f"{taskset.metadata.namespace}/{taskset.name}", **_plain(told)})
        queue = cache.queues[name]
        if not who.admin:  # whom else a queue is for is not everyone's business
            queue = msgspec.structs.replace(
                queue, allowed_users=[user for user in queue.allowed_users if user == who.user]
            )
        item: dict[str, Any] = {"name": queue.name, **_plain(queue)}
        item["used"] = _plain(usage.queues[name]) if name in usage.queues else {}
        mine = usage.users.get((name, who.user))
        item["usedByYou"] = _plain(mine) if mine else {}
        item["board"] = {
            "at": board.at if board else 0.0,
            "waiting": len(board.places) if board else 0,
            "places": places,
        }
        return item


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
        self.answer(await what_if(self.service.cache, self.service.submission, taskset))
