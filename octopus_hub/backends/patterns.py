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


def reach(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return what says whether a folder (a relative path) may hold wanted files."""
    wanted = [_parts(pattern) for pattern in (*patterns, ALWAYS)]
    return lambda relative: any(_reaches(tuple(relative.split("/")), pattern) for pattern in wanted)


def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(part for part in pattern.strip().split("/") if part not in ("", "."))


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Follow every place of the pattern that may be meant at once: patterns are users', and trying them one after the
    other would take for ever where ``**`` stands often."""
    places = _with_skipped({0}, pattern)
    for at, part in enumerate(path):
        if len(pattern) in places:
            return True  # a folder was named (or the pattern is used up): everything below it
        inner = at + 1 < len(path)
        places = _with_skipped({after for place in places for after in _step(part, inner, place, pattern)}, pattern)
    return len(pattern) in places


def _reaches(folder: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    places = _with_skipped({0}, pattern)
    for part in folder:
        if len(pattern) in places:
            return True
        places = _with_skipped({after for place in places for after in _step(part, True, place, pattern)}, pattern)
    return bool(places)


def _step(part: str, inner: bool, place: int, pattern: tuple[str, ...]) -> tuple[int, ...]:
    """Return the places in the pattern after a component of the path; ``inner`` says that others follow it."""
    wanted = pattern[place]
    if wanted == "**":
        return (place,)
    if not fnmatch.fnmatchcase(part, wanted):
        return ()
    last = place + 1 == len(pattern)
    if last and inner and any(sign in wanted for sign in "*?["):
        return ()  # signs that stand for anything name files, never a folder with all in it
    return (place + 1,)


def _with_skipped(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Return the places with those behind each ``**``, which may stand for nothing."""
    found = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            found.add(place)
    return found
