"""Settings as ``octopus up`` hands them over, for tests of the hub's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octopus_hub.hub.configure import Settings


def settings(folder: Path, **changes: Any) -> Settings:
    """Return settings whose files lie in ``folder``."""
    password = folder / "password"
    password.write_text("a-password-of-users\n")
    admin = folder / "admin_password"
    admin.write_text("a-password-of-administrators-0123456789\n")
    fields: dict[str, Any] = {
        "state": folder,
        "bind_url": "http://127.0.0.1:8000",
        "hub_port": 8081,
        "proxy_api_port": 8001,
        "service_url": "http://127.0.0.1:10101/services/octopus/",
        "service_token": "service-token",
        "stop_token": "stop-token",
        "proxy_token": "proxy-token",
        "user": "ada",
        "password_file": password,
        "root_dir": "/srv/notebooks",
        "proxy_command": ["node", "proxy.js"],
        "admin_password_file": admin,
    }
    return Settings(**{**fields, **changes})
