"""What a browser sees: a table of one's TaskSets after logging in through the hub. No scripts, everything escaped."""

from __future__ import annotations

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
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>TaskSets of {user}</title></head>
<body><h1>TaskSets of {user}</h1>
<table border="1" cellpadding="4"><thead><tr><th>Name</th><th>Phase</th><th>Queue</th><th>Tasks</th><th>Message</th></tr></thead>
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
        page = _PAGE.format(user=xhtml_escape(self.who.user), rows=rows, note=note or "Reload the page to look again.")
        self.answer(page.encode(), media_type="text/html; charset=utf-8")

    def _row(self, taskset: TaskSet) -> str:
        place = place_for(self.service.cache, self.who, taskset)
        tasks = sum(role.count for role in taskset.spec.roles)
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
