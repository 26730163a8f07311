"""What a browser sees: a table of one's TaskSets after logging in through the hub. No scripts, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.escape import xhtml_escape

from octopus_hub.model.errors import Unauthenticated
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.access import Route
from octopus_hub.service.context import Service
from octopus_hub.service.handler import ApiHandler
from octopus_hub.service.views import place_for

MOST_ROWS = 500
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.4rem; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid #8884; vertical-align: top; }
th { font-weight: 600; font-size: .85rem; opacity: .7; } td:first-child { font-weight: 600; } p { opacity: .7; }
"""
_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TaskSets of {user}</title><style>{style}</style></head>
<body><h1>TaskSets of {user}</h1>
<table><thead><tr><th>Name</th><th>Phase</th><th>Queue</th><th>Tasks</th><th>Message</th></tr></thead>
<tbody>{rows}</tbody></table>
<p>{note}</p></body></html>
"""


class StatusPage(ApiHandler):
    """``/services/octopus/``."""

    path = "/"
    base = "service"

    async def _admit(self, route: Route) -> None:
        try:
            await super()._admit(route)
        except Unauthenticated:
            if self.service.authenticator.hub is None:
                raise
            self.redirect(self.get_login_url())

    async def get(self) -> None:
        """The caller's TaskSets, newest first."""
        if self.get_current_user() is not None:
            _ = self.xsrf_token  # gives the browser its token against forged requests, as a cookie of our path
        mine = [
            taskset
            for taskset in self.service.cache.tasksets.values()
            if taskset.metadata.namespace == self.who.namespace
        ]
        mine.sort(key=lambda taskset: -taskset.metadata.created_at)
        note = f"The newest {MOST_ROWS} of {len(mine)}." if len(mine) > MOST_ROWS else ""
        rows = "".join(self._row(taskset) for taskset in mine[:MOST_ROWS])
        note = note or "Reload the page to look again."
        page = _PAGE.format(style=_STYLE, user=xhtml_escape(self.who.user), rows=rows, note=note)
        self.set_header("Content-Security-Policy", _POLICY)
        self.answer(page.encode(), media_type="text/html; charset=utf-8")

    def _row(self, taskset: TaskSet) -> str:
        place = place_for(self.service.cache, self.who, taskset)
        tasks = sum(taskset.size(role) for role in taskset.spec.roles)
        words = place.message if place is not None else taskset.status.message
        cells = (taskset.name, taskset.status.phase.value, taskset.spec.queue, str(tasks), words)
        return "<tr>" + "".join(f"<td>{xhtml_escape(cell)}</td>" for cell in cells) + "</tr>"


class Callback(HubOAuthCallbackHandler):  # type: ignore[misc]  # jupyterhub has no types
    """``/services/octopus/oauth_callback``: the end of a browser's log-in."""

    def initialize(self, service: Service) -> None:
        """Called by tornado."""
        self.hub_auth = service.authenticator.hub

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One line and the way back; nothing of the exchange with the hub."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"The log-in did not work ({status_code}). Open /services/octopus/ again.\n")
