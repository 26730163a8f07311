"""The service about itself: version, caller, schemas, OpenAPI."""

from __future__ import annotations

import msgspec

from octopus_hub._version import __version__
from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.schema import KINDS, json_schema
from octopus_hub.model.taskset import API_VERSION
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.openapi import document
from octopus_hub.service.views import shown


class Version(ApiHandler):
    """``/version``."""

    path = "/version"

    async def get(self) -> None:
        """Of the product and of the API."""
        self.answer({"version": __version__, "apiVersion": API_VERSION, "api": "v1"})


class Whoami(ApiHandler):
    """``/whoami``."""

    path = "/whoami"

    async def get(self) -> None:
        """User, namespace, groups and scopes of the token."""
        who = self.who
        self.answer(
            {
                "user": who.user,
                "namespace": who.namespace,
                "groups": sorted(who.groups),
                "scopes": sorted(scope for scope in who.scopes if scope.startswith("custom:octopus:")),
                "admin": who.admin,
            }
        )


class Schema(ApiHandler):
    """``/schema/{kind}``."""

    path = "/schema/{kind}"

    async def get(self, kind: str) -> None:
        """JSON Schema of one kind, in any case."""
        try:
            schema = json_schema(kind)
        except InvalidSpec:
            raise NotFound(f"there is no schema of {shown(kind)}; there are {', '.join(sorted(KINDS))}") from None
        self.answer(msgspec.json.encode(schema), media_type="application/schema+json")


class OpenAPI(ApiHandler):
    """``/openapi.json``."""

    path = "/openapi.json"

    async def get(self) -> None:
        """The description of this API."""
        self.answer(document(self.service.settings.api))
