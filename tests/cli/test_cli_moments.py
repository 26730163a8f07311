"""Times on a command line: the next one that is meant, in the zone that is meant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from octopus_hub.cli.moments import local_zone, moment, unix
from octopus_hub.model.errors import InvalidSpec

# Wednesday, 25 November 2026, 11:30 in Berlin
NOW = datetime(2026, 11, 25, 11, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()

WRITTEN = [
    ("12:00", "2026-11-25T12:00"),
    ("11:30", "2026-11-26T11:30"),
    ("9:05", "2026-11-26T09:05"),
    ("Mon 10:00", "2026-11-30T10:00"),
    ("wednesday 10:00", "2026-12-02T10:00"),
    ("Wed. 12:00", "2026-11-25T12:00"),
    ("now", NOW),
    ("+2h", NOW + 7200),
    ("1796029200", 1796029200.0),
    ("2026-11-30 10:00", "2026-11-30 10:00"),
    ("2026-11-30T10:00Z", "2026-11-30T10:00Z"),
    ("25:00", "25:00"),  # the service says what is wrong
    ("tomorrow", "tomorrow"),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN, ids=[case[0] for case in WRITTEN])
def test_moment(text: str, expected: str | float) -> None:
    assert moment(text, "Europe/Berlin", NOW) == expected


def test_an_age_that_is_none() -> None:
    with pytest.raises(InvalidSpec, match="write it like 30s"):
        moment("+soon", "UTC", NOW)


def test_what_is_meant_as_a_number() -> None:
    assert (
        unix("2026-11-25T11:30", "Europe/Berlin") == unix("2026-11-25T10:30Z", "Asia/Tokyo") == unix(NOW, "UTC") == NOW
    )
    assert unix("tomorrow", "UTC") is None


def test_the_machines_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "zoneinfo" / "Asia").mkdir(parents=True)
    (tmp_path / "zoneinfo" / "Asia" / "Tokyo").touch()
    (tmp_path / "localtime").symlink_to(tmp_path / "zoneinfo" / "Asia" / "Tokyo")
    assert local_zone(tmp_path / "localtime") == "Asia/Tokyo"
    assert local_zone(tmp_path / "nothing") == "UTC"
    monkeypatch.setenv("TZ", ":Europe/Berlin")
    assert local_zone(tmp_path / "localtime") == "Europe/Berlin"
    monkeypatch.setenv("TZ", "nonsense/zone")
    assert local_zone(tmp_path / "localtime") == "UTC"
