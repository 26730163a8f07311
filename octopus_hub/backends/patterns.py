"""Patterns of output files, the same in every backend. Pure; looks at no file.

``*`` and ``?`` stay within a path component, ``**`` crosses them; a pattern that names a folder takes all in it. What
``$OCTOPUS_OUTPUTS`` holds is collected without being named.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

ALWAYS = "outputs/**"


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return what says whether a relative path (with ``/``) is wanted."""
    wanted = [_parts(pattern) for pattern in (*patterns, ALWAYS)]
    return lambda relative: any(_matches(tuple(relative.split("/")), pattern) for pattern in wanted)


def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(part for part in pattern.strip().split("/") if part not in ("", "."))


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return True  # a folder was named (or the pattern is used up): everything below it
    if not path:
        return pattern == ("**",)
    if pattern[0] == "**":
        return _matches(path, pattern[1:]) or _matches(path[1:], pattern)
    if not fnmatch.fnmatchcase(path[0], pattern[0]):
        return False
    if len(pattern) == 1 and len(path) > 1:
        return not any(sign in pattern[0] for sign in "*?[")
    return _matches(path[1:], pattern[1:])
