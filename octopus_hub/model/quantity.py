"""Kubernetes quantities to integers and back. To be completed: exact decimal arithmetic, canonical form."""

from __future__ import annotations


def parse_cpu(text: str) -> int:
    """Return milli-CPUs of ``2``, ``0.5``, ``500m``."""
    return int(text[:-1]) if text.endswith("m") else int(float(text) * 1000)


def parse_memory(text: str) -> int:
    """Return bytes of ``8Gi``, ``256Mi``, ``1000``."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(text)
