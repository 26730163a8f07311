"""The flat form: ``TaskSet("name", roles=[Role("worker", devices={"gpu": 1}, command=[...])])``.

A metaclass moves flat arguments to where the full form has them and passes everything else through, so that
``msgspec.convert`` (which calls the class with plain field names) and users share one constructor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec


class FlatMeta(msgspec.StructMeta):
    """Metaclass of structs that accept a flat form; the class says how in ``__flatten__``."""

    if not TYPE_CHECKING:  # hidden from the type checker, which sees the full form only

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            flatten = getattr(cls, "__flatten__", None)
            if flatten is not None:
                args, kwargs = flatten(args, kwargs)
            return super().__call__(*args, **kwargs)
