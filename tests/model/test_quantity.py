"""Quantities: Kubernetes' grammar, exactly, in both directions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.quantity import MOST_MEMORY_BYTES, cpu_text, memory_text, parse_cpu, parse_memory
from octopus_hub.model.taskset import Resources, Role, TaskSet

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

UNITS = {
    "": Fraction(1),
    **{unit: Fraction(1, 10**power) for unit, power in (("n", 9), ("u", 6), ("m", 3))},
    **{unit: Fraction(10) ** power for unit, power in zip("kMGTPE", range(3, 19, 3), strict=True)},
    **{f"{unit}i": Fraction(2) ** power for unit, power in zip("KMGTPE", range(10, 61, 10), strict=True)},
}


@pytest.mark.parametrize(
    ("text", "millis", "canonical"),
    [
        ("2", 2000, "2"),
        ("0.5", 500, "500m"),
        (".5", 500, "500m"),
        ("2.", 2000, "2"),
        ("500m", 500, "500m"),
        ("1500m", 1500, "1500m"),
        ("1.5", 1500, "1500m"),
        ("0.1", 100, "100m"),
        ("1e3", 1_000_000, "1000"),
        ("1E-1", 100, "100m"),
        ("1k", 1_000_000, "1000"),
        ("100u", 1, "1m"),
        ("1000001n", 2, "2m"),
        ("0", 0, "0"),
        ("-0", 0, "0"),
        ("+1", 1000, "1"),
    ],
)
def test_cpu(text: str, millis: int, canonical: str) -> None:
    assert parse_cpu(text) == millis and cpu_text(millis) == canonical


@pytest.mark.parametrize(
    ("text", "size", "canonical"),
    [
        ("8Gi", 8 * 2**30, "8Gi"),
        ("1.5Gi", 1536 * 2**20, "1536Mi"),
        ("0.5Gi", 512 * 2**20, "512Mi"),
        ("256Mi", 256 * 2**20, "256Mi"),
        ("1024Mi", 2**30, "1Gi"),
        ("8G", 8 * 10**9, "8G"),
        ("1e9", 10**9, "1G"),
        ("1E", 10**18, "1E"),
        ("1Ei", 2**60, "1Ei"),
        ("1000", 1000, "1k"),
        ("1024", 1024, "1Ki"),
        ("1025", 1025, "1025"),
        ("1500m", 2, "2"),
        ("0.1", 1, "1"),
        ("0", 0, "0"),
    ],
)
def test_memory(text: str, size: int, canonical: str) -> None:
    assert parse_memory(text) == size and memory_text(size) == canonical


@pytest.mark.parametrize(
    ("case", "text", "message"),
    [
        ("empty", "", "'' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("no number", "nan", "'nan' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("infinite", "inf", "'inf' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("words", "lots", "'lots' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("a space", "8 Gi", "'8 Gi' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("two points", "1.2.3", "'1.2.3' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("only a unit", "Gi", "'Gi' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("digits of another script", "٣", "'٣' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        ("underscores", "1_000", "'1_000' is not an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        (
            "negative",
            "-1Gi",
            "'-1Gi' is negative; an amount of memory is zero or more, such as 8Gi, 512Mi or a number of bytes",
        ),
        (
            "GB",
            "8GB",
            "'8GB' is not an amount of memory: the unit is G, not GB; write 8Gi, 512Mi or a number of bytes",
        ),
        (
            "small letters",
            "8gi",
            "'8gi' is not an amount of memory: the unit is Gi, not gi; write 8Gi, 512Mi or a number of bytes",
        ),
        (
            "no such unit",
            "8x",
            "'8x' is not an amount of memory: there is no unit x; write 8Gi, 512Mi or a number of bytes",
        ),
        ("too large", "8Ei", "'8Ei' is too large for an amount of memory; write 8Gi, 512Mi or a number of bytes"),
        (
            "absurdly large",
            "1e999",
            "'1e999' is too large for an amount of memory; write 8Gi, 512Mi or a number of bytes",
        ),
        (
            "absurdly long",
            "1" * 100_000,
            f"'{'1' * 40}...' is not an amount of memory; write 8Gi, 512Mi or a number of bytes",
        ),
    ],
)
def test_what_is_refused_is_told_in_one_sentence(case: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_memory(text)
    assert caught.value.message == message


_decimals = st.from_regex(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", fullmatch=True)


@unhurried
@given(_decimals, st.sampled_from(list(UNITS)))
def test_every_amount_is_exact_and_rounded_up(number: str, unit: str) -> None:
    exact = Fraction(number if not number.startswith(".") else f"0{number}") * UNITS[unit]
    for parse, wanted in ((parse_memory, math.ceil(exact)), (parse_cpu, math.ceil(exact * 1000))):
        try:
            assert parse(number + unit) == wanted
        except InvalidSpec as error:
            assert "too large" in error.message and wanted >= 10**9


@unhurried
@given(_decimals, st.integers(-30, 9))
def test_exponents(number: str, power: int) -> None:
    exact = Fraction(number if not number.startswith(".") else f"0{number}") * Fraction(10) ** power
    assert parse_memory(f"{number}e{power}") == parse_memory(f"{number}E{power:+d}") == math.ceil(exact)


@unhurried
@given(st.integers(0, MOST_MEMORY_BYTES))
def test_memory_texts_read_back(size: int) -> None:
    text = memory_text(size)
    assert parse_memory(text) == size and memory_text(parse_memory(text)) == text and len(text) <= len(str(size))


@unhurried
@given(st.integers(0, 10**9))
def test_cpu_texts_read_back(millis: int) -> None:
    assert parse_cpu(cpu_text(millis)) == millis


@unhurried
@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9.]{0,5}[eEnumkKMGTPi+0-9-]{0,5}", fullmatch=True))
def test_no_text_raises_anything_else(text: str) -> None:
    for parse in (parse_cpu, parse_memory):
        try:
            assert parse(text) >= 0
        except InvalidSpec as error:
            assert "\n" not in error.message


def test_equal_requests_have_equal_canonical_texts() -> None:
    def resources(**given: object) -> Resources:
        wire = {"metadata": {"name": "a"}, "spec": {"roles": [{"name": "w", "command": ["x"], "resources": given}]}}
        return TaskSet.parse(wire).spec.roles[0].resources

    assert (
        resources(cpu=0.5, memory="1Gi") == resources(cpu="500m", memory=2**30) == resources(cpu=".5", memory="1024Mi")
    )
    assert resources(cpu="100m", memory="256Mi", devices={"gpu": 0}) == Resources()
    asked = Role("w", cpu=1.5, memory="1.5Gi", devices={"gpu": 2}).resources.amounts()
    assert (asked.cpu_millis, asked.memory_bytes, asked.devices) == (1500, 3 * 2**29, {"gpu": 2})
