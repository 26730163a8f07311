"""How a document asks for devices: whole ones by type, or a part of one as a fraction (``gpu: 0.25``, ``gpu: 1/4``). Pure."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

from octopus_hub.model import parts
from octopus_hub.model.fields import Table
from octopus_hub.model.problems import Problems, short
from octopus_hub.model.shapes import BAD, Schema, Text, Whole


@dataclass(frozen=True, slots=True)
class Share:
    """A whole number, or one of n equal parts; what is read of a part is ``1/n``."""

    whole: Whole

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        count = parts.fraction(value)
        if count is not None:
            return f"1/{count}"
        real = isinstance(value, numbers.Real) and not isinstance(value, bool | numbers.Integral)
        if real and not float(value).is_integer():
            allowed = f"a whole number from {self.whole.least} to {self.whole.most}"
            problems.add(path, f"{short(str(value))} is neither {allowed} nor {parts.WHAT}")
            return BAD
        return self.whole.read(value, path, problems)

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        least = 1 / parts.MOST_PARTS
        return {
            "anyOf": [
                self.whole.schema(definitions),
                {"type": "number", "exclusiveMinimum": least, "exclusiveMaximum": 1, "description": parts.WHAT},
                {"type": "string", "pattern": r"^(?:1 ?/ ?(?:[2-9]|[1-9][0-9]{1,2})|0?\.[0-9]{1,20})$"},
            ]
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A mapping of device types to numbers; a fraction is read as one part: ``gpu: 0.25`` as ``gpu-1of4: 1``."""

    table: Table

    @classmethod
    def of(cls, kind: Text, most: int) -> Asked:
        """Return the shape of up to 32 types with up to so many devices of each."""
        return cls(Table(kind, Share(Whole(0, most)), 32, "a mapping of device types to numbers, such as gpu: 1"))

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        found = self.table.read(value, path, problems)
        if found is BAD:
            return BAD
        for kind, count in found.items():
            if isinstance(count, str) and parts.split(kind)[1] > 1:
                problems.add(f"{path}.{kind}", f"{kind} is a part already; write {kind}: 1")
        devices = parts.in_parts(found)
        why = parts.mixed(kind for kind, count in devices.items() if count)
        if why:
            problems.add(path, why)
        return {kind: count for kind, count in devices.items() if not isinstance(count, str)}

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return self.table.schema(definitions)
