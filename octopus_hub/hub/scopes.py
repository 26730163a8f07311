"""The scopes that hub users, servers and the service's OAuth client need, in one place.

A server's token gets only scopes that its user holds, and a browser's token only what the OAuth client allows; all
three must be widened, or a notebook can't call the service at all.
"""

from __future__ import annotations

ACCESS = "access:services!service=octopus"

CUSTOM: dict[str, dict[str, object]] = {
    "custom:octopus:tasksets:read": {"description": "See own TaskSets, tasks, logs and streams"},
    "custom:octopus:tasksets:write": {
        "description": "Submit, stop, hold, release and delete own TaskSets",
        "subscopes": ["custom:octopus:tasksets:read"],
    },
    "custom:octopus:records": {"description": "Read own run records and outputs, replay them"},
    "custom:octopus:secrets": {"description": "Write and list the names of own secrets"},
    "custom:octopus:admin": {"description": "See and manage everything of octopus"},
}

USER: tuple[str, ...] = (
    ACCESS,
    "custom:octopus:tasksets:read",
    "custom:octopus:tasksets:write",
    "custom:octopus:records",
    "custom:octopus:secrets",
)
ADMIN: tuple[str, ...] = (*USER, "custom:octopus:admin")
SERVER_DEFAULT: tuple[str, ...] = ("users:activity!user", "access:servers!server")  # jupyterhub's own `server` role
SERVICE: tuple[str, ...] = ("read:users:name", "read:users:groups", "read:servers", "list:users")
