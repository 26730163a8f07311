"""``/secrets``: write-only. Names come out, values never do."""

from __future__ import annotations

import re

import msgspec

from octopus_hub.model.errors import InvalidSpec, Refused, TooLarge
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.views import namespace_of_path, safe_name, shown

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class SecretValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret's value, on its way in."""

    value: str


class Secrets(ApiHandler):
    """``/secrets``."""

    path = "/secrets"

    async def get(self) -> None:
        """Names, sorted."""
        names = await self.service.backend.list_secrets(namespace_of_path(self.who, ""))
        self.answer({"items": [{"name": name} for name in names]})


class OneSecret(ApiHandler):
    """``/secrets/{name}``."""

    path = "/secrets/{name}"

    async def put(self, name: str) -> None:
        """Store or replace a value."""
        namespace = namespace_of_path(self.who, "")
        if not NAME.fullmatch(name):
            raise InvalidSpec(
                f"{shown(name)} can't name a secret; use up to 63 lower-case letters, digits and hyphens",
            )
        value = self._value()
        settings = self.service.settings
        if len(value.encode()) > settings.secret_bytes:
            raise TooLarge(f"a secret has at most {settings.secret_bytes} bytes", limit=settings.secret_bytes)
        known = await self.service.backend.list_secrets(namespace)
        if name not in known and len(known) >= settings.secrets_per_user:
            raise Refused(
                f"{len(known)} secrets are stored, {settings.secrets_per_user} is the limit for one user; delete some",
                rule="secrets",
                usage=len(known),
                limit=settings.secrets_per_user,
            )
        await self.service.backend.put_secret(namespace, name, value)
        self.set_status(204)

    async def delete(self, name: str) -> None:
        """Remove it."""
        namespace = namespace_of_path(self.who, "")
        await self.service.backend.delete_secret(namespace, safe_name(name, "secret"))
        self.set_status(204)

    def _value(self) -> str:
        try:
            value = msgspec.json.decode(self.body(), type=SecretValue).value
            value.encode()
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # Without msgspec's words: nothing of a secret may come back or stand in a log.
            raise InvalidSpec('the body of a secret is {"value": "..."}', problems=["value: is a text"]) from None
        return value
