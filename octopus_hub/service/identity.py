"""Who calls: a hub token, the hub's cookie of a browser, or the token of the account that runs the workbench.

Answers with an :class:`Identity` or raises; decides nothing about objects. The hub is asked anew after
``CACHE_SECONDS``, so a revoked or expired token stops within a minute.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.web import HTTPError, RequestHandler

from octopus_hub.model.errors import Refused, Unauthenticated, Unavailable
from octopus_hub.model.names import namespace_of
from octopus_hub.service.access import ADMIN, ALL_SCOPES, widened

CACHE_SECONDS = 25
TOKENS_KNOWN = 10_000
SERVICE_NAME = "octopus"
log = logging.getLogger(__name__)
_HEADER = re.compile(r"(?:token|bearer)\s+(\S{1,4096})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller.

    Attributes
    ----------
    user : str
        Hub user name; ``service:...`` for a token of a hub service, which has no namespace of its own.
    namespace : str
        The tenant that the user is.
    scopes : frozenset of str
        Ours, widened.
    """

    user: str
    namespace: str
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    @property
    def admin(self) -> bool:
        """May see and manage everybody's objects."""
        return ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class LocalToken:
    """The token in the 0600 file of the account that runs the workbench; it may do what an administrator may."""

    token: str
    user: str
    groups: frozenset[str] = frozenset()

    def matches(self, given: str) -> bool:
        """Compare in constant time."""
        return bool(self.token) and hmac.compare_digest(self.token.encode(), given.encode("utf-8", "replace"))


class Authenticator:
    """Finds out who calls.

    Parameters
    ----------
    local : LocalToken, optional
        None where there is no command line of the same account.
    hub : HubOAuth, optional
        None where there is no hub; see :func:`hub_oauth`.
    """

    def __init__(self, local: LocalToken | None = None, hub: Any = None) -> None:
        self._local = local
        self.hub = hub
        self._known: dict[str, None] = {}  # digests of tokens that were good when last asked about

    def known(self, handler: RequestHandler) -> bool:
        """Say whether this request's token was good the last time: guesses of others must not shut its owner out."""
        token = bearer(handler)
        if token and self._local is not None and self._local.matches(token):
            return True
        return self.hub is not None and self._digest(handler) in self._known

    async def identify(self, handler: RequestHandler) -> Identity:
        """Return who sent this request; raises Unauthenticated, Refused (may not use octopus), Unavailable (no hub)."""
        token = bearer(handler)
        if token and self._local is not None and self._local.matches(token):
            return Identity(self._local.user, namespace_of(self._local.user), self._local.groups, frozenset(ALL_SCOPES))
        if self.hub is None:
            raise _unauthenticated(bool(token))
        model = await self._ask(self.hub.get_user(handler, sync=False))
        self._remember(self._digest(handler), model is not None)
        return self.of_model(model, bool(token))

    async def recheck(self, handler: RequestHandler, before: Identity) -> None:
        """Ask again about the token of a long answer; raises when it, or what it allowed, is gone."""
        token = bearer(handler)
        if token and self._local is not None and self._local.matches(token):
            return
        if self.hub is None:
            raise _unauthenticated(True)
        session = self.hub.get_session_id(handler)
        model = await self._ask(self.hub.user_for_token(self.hub.get_token(handler), session_id=session, sync=False))
        now = self.of_model(model, True)
        if now.user != before.user or not before.scopes <= now.scopes:
            raise _unauthenticated(True)

    def of_model(self, model: dict[str, Any] | None, given: bool = True) -> Identity:
        """Return the identity in the hub's answer about a token."""
        if not model:
            raise _unauthenticated(given)
        name = str(model["name"])
        scopes = widened(model.get("scopes", ()))
        if not self.hub.check_scopes(self.hub.access_scopes, model):
            raise Refused(
                f"{name} may not use octopus; an administrator can grant access:services!service={SERVICE_NAME}"
            )
        if model.get("kind", "user") != "user":
            # A service's name lives beside user names: it must never become the tenant of the user of that name.
            return Identity(f"service:{name}", "", frozenset(), scopes)
        return Identity(name, namespace_of(name), frozenset(model.get("groups", ())), scopes)

    def _digest(self, handler: RequestHandler) -> str:
        return hashlib.sha256(str(self.hub.get_token(handler) or "").encode("utf-8", "replace")).hexdigest()

    def _remember(self, digest: str, good: bool) -> None:
        self._known.pop(digest, None)
        if good:
            self._known[digest] = None
            if len(self._known) > TOKENS_KNOWN:
                del self._known[next(iter(self._known))]

    async def _ask(self, question: Any) -> dict[str, Any] | None:
        try:
            model: dict[str, Any] | None = await question
        except HTTPError as error:
            log.warning("the hub can't be asked who calls: %s", error)
            raise Unavailable("the hub can't be asked about this token now; try again") from error
        return model


def bearer(handler: RequestHandler) -> str:
    """Return the token in the Authorization header, or ""."""
    found = _HEADER.fullmatch(handler.request.headers.get("Authorization", ""))
    return found.group(1) if found else ""


def hub_oauth(*, api_url: str, api_token: str, prefix: str, public_base: str = "/") -> Any:
    """Return the hub's authentication for a service that is registered as ``octopus``.

    Parameters
    ----------
    api_url : str
        The hub's API on loopback, e.g. ``http://127.0.0.1:8081/hub/api``.
    api_token : str
        The service's own token.
    prefix : str
        The service's prefix.
    public_base : str
        The hub's base URL as browsers see it.
    """
    return HubOAuth(
        api_url=api_url.rstrip("/"),
        api_token=api_token,
        base_url=prefix,
        hub_prefix=f"{public_base.rstrip('/')}/hub/",
        oauth_client_id=f"service-{SERVICE_NAME}",
        oauth_redirect_uri=f"{prefix}oauth_callback",
        access_scopes={f"access:services!service={SERVICE_NAME}"},
        cache_max_age=CACHE_SECONDS,
    )


def _unauthenticated(given: bool) -> Unauthenticated:
    if given:
        return Unauthenticated(
            "the token is not known to the hub: forged, revoked or expired; get a new one and try again"
        )
    return Unauthenticated("no token was sent; send `Authorization: Bearer <token>`, or log in with a browser")
