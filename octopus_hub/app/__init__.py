"""The composition root: ``octopus up`` puts backend, controller, service and hub together on one machine."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``octopus up`` with these arguments; returns the exit code."""
    from octopus_hub.app.application import OctopusUp

    return int(OctopusUp.run(argv))
