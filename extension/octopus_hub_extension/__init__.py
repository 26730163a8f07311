"""The Jupyter server extension: the browser's way to the octopus service, without the service's token.

``{base_url}octopus/api/v1/...`` is a proxy (:mod:`proxy`), ``{base_url}octopus/api/stream`` the one WebSocket of a
page (:mod:`pagestream`). Imports :mod:`octopus_hub.client` and :mod:`octopus_hub.model` only: an engine is a process
of its own. Jupyter finds it by ``etc/jupyter/jupyter_server_config.d/octopus_hub_extension.json``.
"""

from __future__ import annotations

from typing import Any

from octopus_hub._version import __version__

__all__ = ["__version__", "_jupyter_server_extension_points"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Called by Jupyter; the class's ``_load_jupyter_server_extension`` is called next."""
    from octopus_hub_extension.app import OctopusExtension

    return [{"module": "octopus_hub_extension.app", "app": OctopusExtension}]
