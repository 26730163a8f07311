"""The hub's answers about tokens, on loopback: what ``/hub/api/user`` of JupyterHub 6.1 says."""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from octopus_hub.hub.scopes import ADMIN, USER


def model(
    name: str, *, kind: str = "user", scopes: tuple[str, ...] = USER, groups: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the model of a token's owner."""
    return {
        "kind": kind,
        "name": name,
        "admin": False,
        "groups": list(groups),
        "scopes": list(scopes),
        "session_id": None,
    }


class _User(RequestHandler):
    def get(self) -> None:
        hub: HubApi = self.application.settings["hub"]
        hub.asked += 1
        if hub.broken:
            self.send_error(500)
            return
        found = hub.tokens.get(self.request.headers.get("Authorization", "").removeprefix("token "))
        if found is None:
            self.set_status(403)
            self.finish({"status": 403, "message": "Missing or invalid credentials."})
        else:
            self.finish(found)


class HubApi:
    """Answers for the tokens it knows, 403 for all others."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {
            "alice-token": model("alice", groups=("lab",)),
            "bob-token": model("bob"),
            "root-token": model("root", scopes=ADMIN),
            "reader-token": model("alice", scopes=(USER[0], "custom:octopus:tasksets:read")),
            "stranger-token": model("carol", scopes=("self",)),
            "grader-token": model("alice", kind="service", scopes=USER),
        }
        self.asked = 0
        self.broken = False
        sock, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/hub/api"
        self._server = HTTPServer(Application([("/hub/api/user", _User)], hub=self, log_function=lambda handler: None))
        self._server.add_sockets([sock])

    async def close(self) -> None:
        """Stop listening."""
        self._server.stop()
        await self._server.close_all_connections()
