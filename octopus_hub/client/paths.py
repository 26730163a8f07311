"""A path as a user writes it. Looks at nothing but the account's home folder."""

from __future__ import annotations

import os
from pathlib import Path

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import kind_of


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return the path with a leading ``~`` replaced; raises InvalidSpec where there is no such home folder."""
    try:
        return Path(path).expanduser()
    except TypeError:
        raise InvalidSpec(f"a path is a text, not {kind_of(path)}") from None
    except RuntimeError:
        raise InvalidSpec(f"{os.fspath(path)}: there is no such home folder; write the path without ~") from None
