"""Objects that an administrator puts, by name: reservations and the like, as an embedded backend keeps them.

One :class:`Kept` per kind, part of ``truth``: it stores through the journal first and then tells watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, TypeVar

from octopus_hub.backends.journal import Batch, NamedObject
from octopus_hub.model.errors import Conflict, NotFound

Kind = TypeVar("Kind", bound=NamedObject)
Emit = Callable[[Literal["put", "deleted"], NamedObject], None]


class Kept(Generic[Kind]):
    """The objects of one kind.

    Parameters
    ----------
    rows : iterable
        What was stored before.
    commit : callable
        Stores a batch or raises; nothing changes here before it returned.
    emit : callable
        Tells watchers.
    listed : str
        The command that lists them, for messages.
    """

    def __init__(self, rows: Iterable[Kind], commit: Callable[[Batch], None], emit: Emit, listed: str) -> None:
        self._rows = {each.name: each for each in rows}
        self._commit = commit
        self._emit = emit
        self._listed = listed

    @property
    def rows(self) -> Mapping[str, Kind]:
        """All of them by name; for reading."""
        return self._rows

    def put(self, new: Kind, known: Kind | None = None) -> None:
        """Store one in place of that of its name; with ``known`` only if that is what is stored."""
        stored = self._rows.get(new.name)
        if known is not None and stored != known:
            raise Conflict(f"{new.kind.lower()} {new.name} changed meanwhile; look again", name=new.name)
        if stored != new:
            self._commit(Batch(objects=(new,), durable=True))
            self._rows[new.name] = new
            self._emit("put", new)

    def delete(self, name: str) -> None:
        """Remove one; raises NotFound."""
        stored = self._rows.get(name)
        if stored is None:
            raise NotFound(f"there is no {name} (any more); {self._listed} shows those that exist")
        self._commit(Batch(gone_objects=(stored,), durable=True))
        del self._rows[name]
        self._emit("deleted", stored)
