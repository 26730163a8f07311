"""What is wrong with a document, collected: every problem with its path, in words for the person who wrote it. Pure.

Used by the shapes, which read documents, and by what else collects problems. Nothing here raises.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

MOST_PROBLEMS = 100  # told one by one; the rest is a number


class Problems:
    """Collects ``path: what``."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._more = 0

    def __len__(self) -> int:
        return len(self._found) + self._more

    def add(self, path: str, what: str) -> None:
        """Add a problem; the path of the document itself is ""."""
        if len(self._found) < MOST_PROBLEMS:
            self._found.append(f"{path}: {what}" if path else what)
        else:
            self._more += 1

    def told(self) -> list[str]:
        """Return the problems as told to the user."""
        return [*self._found, f"and {self._more} more problems"] if self._more else list(self._found)


def kind_of(value: Any) -> str:
    """Return what a value is, in a user's words, with the value where it is short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{value}".lower()
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, int | float):
        return f"the number {short(str(value))}"
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if hasattr(value, "keys") else f"a {type(value).__name__}"


def shown(text: str) -> str:
    """Return a text in quotes, cut."""
    return ascii(short(text)) if any(0xD800 <= ord(sign) < 0xE000 for sign in text) else repr(short(text))


def short(text: str, most: int = 60) -> str:
    """Return a text, cut."""
    return text if len(text) <= most else f"{text[:most]}..."


def near(name: str, known: Collection[str]) -> str:
    """Return ``did you mean x?`` or the known names."""
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(lower), 1)
    return f"did you mean {lower[close[0]]}?" if close else f"known are {', '.join(known)}"
