"""Kubernetes quantities (``500m``, ``1.5Gi``) to integers and back, exactly. Pure; no floats on the way.

The grammar is Kubernetes': a decimal number, then a binary suffix (``Ki`` .. ``Ei``), a decimal one (``n``, ``u``, ``m``,
``k``, ``M``, ``G``, ``T``, ``P``, ``E``) or an exponent (``1e3``). As there, what is finer than the unit is rounded up.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from functools import lru_cache

from octopus_hub.model.errors import InvalidSpec

MOST_CPU_MILLIS = 10**9  # a million cores
MOST_MEMORY_BYTES = 2**63 - 1
LONGEST = 64  # characters of a quantity

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SMALL = {"n": 10**9, "u": 10**6, "m": 10**3}
_FORM = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:([eE][+-]?[0-9]{1,3})|([A-Za-z]*))", re.ASCII)

_CPU = "an amount of CPU", "2, 0.5 or 500m (thousandths)"
_MEMORY = "an amount of memory", "8Gi, 512Mi or a number of bytes"


@lru_cache(maxsize=4096)
def parse_cpu(text: str) -> int:
    """Return the milli-CPUs of ``2``, ``0.5``, ``500m``; raises InvalidSpec with one sentence."""
    return _scaled(text, 1000, MOST_CPU_MILLIS, *_CPU)


@lru_cache(maxsize=4096)
def parse_memory(text: str) -> int:
    """Return the bytes of ``8Gi``, ``256Mi``, ``1e9``, ``1000``; raises InvalidSpec with one sentence."""
    return _scaled(text, 1, MOST_MEMORY_BYTES, *_MEMORY)


def cpu_text(millis: int) -> str:
    """Return the canonical form: ``2``, ``500m``, ``1500m``."""
    whole, rest = divmod(millis, 1000)
    return f"{millis}m" if rest else str(whole)


def memory_text(size: int) -> str:
    """Return the canonical form: the shortest exact one, a binary suffix where two are equally short."""
    exact = [f"{size // factor}{unit}" for unit, factor in [*_BINARY.items(), *_DECIMAL.items()] if size % factor == 0]
    return min(exact, key=len) if size and exact and len(min(exact, key=len)) < len(str(size)) else str(size)


def _scaled(text: str, unit: int, most: int, what: str, ways: str) -> int:
    """Return the number of units, rounded up."""
    match = _FORM.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise InvalidSpec(f"{_shown(text)} is not {what}; write {ways}")
    sign, whole, fraction, bare, exponent, suffix = match.groups()
    digits = (whole or "") + (fraction or bare or "")
    above, below = int(digits) * unit, 10 ** len(fraction or bare or "")
    if suffix in _SMALL:
        below *= _SMALL[suffix]
    elif suffix in _BINARY or suffix in _DECIMAL:
        above *= _BINARY.get(suffix) or _DECIMAL[suffix]
    elif suffix:
        raise InvalidSpec(f"{_shown(text)} is not {what}: {_unit_hint(suffix)}; write {ways}")
    if exponent:
        power = int(exponent[1:])
        above, below = (above * 10**power, below) if power >= 0 else (above, below * 10**-power)
    if sign == "-" and above:
        raise InvalidSpec(f"{_shown(text)} is negative; {what} is zero or more, such as {ways}")
    size: int = -(-above // below)
    if size > most:
        raise InvalidSpec(f"{_shown(text)} is too large for {what}; write {ways}")
    return size


def _unit_hint(suffix: str) -> str:
    """Say what is wrong with a unit; most wrong ones are a right one in other letters."""
    near = {
        "b": "no unit means bytes",
        "g": "G",
        "gb": "G",
        "gib": "Gi",
        "gi": "Gi",
        "mb": "M",
        "mib": "Mi",
        "mi": "Mi",
    }
    near |= {"kb": "k", "kib": "Ki", "ki": "Ki", "tb": "T", "tib": "Ti", "ti": "Ti", "t": "T", "pi": "Pi", "p": "P"}
    hint = near.get(suffix.lower())
    if hint is None:
        return f"there is no unit {suffix}"
    return f"there is no unit {suffix}; {hint}" if " " in hint else f"the unit is {hint}, not {suffix}"


def _shown(text: str) -> str:
    """Return the text in quotes, cut."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
