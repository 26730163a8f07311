"""Counts of all gangs that ended by themselves, from which policies learn run times; kept beside the ledger.

They may be megabytes, the ledger is written many times a second. So it holds the last lives itself, and every
``LIVES_APART`` of them the counts are written first, then the ledger without those lives. Lives are numbered, so that
after a crash between both none counts twice, and none is lost. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from octopus_hub.core.history import Chronicle, Life, Past

LIVES_APART = 400  # fewer: the counts are written more often; more: every write of the ledger is larger
_decode = msgspec.json.Decoder(Past).decode


class Lives:
    """The counts of the first ``ended`` lives."""

    def __init__(self, past: Past | None = None, ended: int = 0) -> None:
        self.chronicle = Chronicle(past) if past is not None else Chronicle()
        self.ended = ended

    def fits(self, ended: int, last: Sequence[Life]) -> bool:
        """Say whether these, the last of so many, go on where the counts end."""
        return ended - len(last) <= self.ended <= ended

    def take(self, ended: int, last: Sequence[Life]) -> None:
        """Count those of the last lives, of so many in all, that are not counted yet."""
        for life in last[max(0, self.ended - ended + len(last)) :]:
            self.chronicle.ended(life)
        self.ended = max(self.ended, ended)

    def content(self) -> dict[str, Any]:
        """Return what is stored: in one string, which is copied and written much faster than so many small values."""
        return {"ended": self.ended, "past": msgspec.json.encode(self.chronicle.past()).decode()}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Lives:
        """Return what was stored; nothing counted where nothing was."""
        return cls(_decode(content["past"]), content["ended"]) if content else cls()
