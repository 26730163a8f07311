"""A path as a user writes it. Looks at nothing but the account's home folder."""

from __future__ import annotations

import os
from pathlib import Path

from octopus_hub.model.errors import InvalidSpec


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return the path with a leading ``~`` replaced; raises InvalidSpec where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidSpec(f"{os.fspath(path)}: there is no such home folder; write the path without ~") from None
