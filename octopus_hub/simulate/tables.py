"""Reads csv files row by row: packed or not, columns in any order, each wrong row told with its line number."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import Problems

Made = TypeVar("Made")


@contextmanager
def opened(path: Path, columns: Sequence[str]) -> Iterator[TextIO]:
    """Open a csv file; files ending in ``.gz`` are unpacked while they are read.

    Raises
    ------
    InvalidSpec
        The file can't be read, or what is done with its lines says that it is no such table.
    """
    try:
        with _open(path) as lines:
            yield lines
    except FileNotFoundError:
        raise InvalidSpec(f"there is no {path}; give a csv file with the columns {', '.join(columns)}") from None
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile):
        raise InvalidSpec(f"{path} is damaged, or no UTF-8 text; give a csv file, or one packed with gzip") from None
    except OSError as error:
        raise InvalidSpec(f"{path} can't be read: {error.strerror or error}") from None
    except InvalidSpec as error:
        raise InvalidSpec(f"{path}: {error.message}", error.problems) from None


def rows(
    lines: Iterable[str],
    columns: Sequence[str],
    make: Callable[[int, list[str]], Made],
    problems: Problems,
) -> Iterator[Made]:
    """Yield what ``make`` makes of each row's line number and cells (in the order of ``columns``, stripped).

    A row for which it raises ValueError is left out, and its words are noted with the line number.
    """
    reader = csv.reader(lines)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            raise InvalidSpec(f"the first line must name the columns {', '.join(columns)}; it lacks {missing[0]}")
        places = [header.index(name) for name in columns]
        for row in reader:
            if not row:
                continue
            try:
                if len(row) != len(header):
                    raise ValueError(f"has {len(row)} columns instead of {len(header)}")
                yield make(reader.line_num, [row[place].strip() for place in places])
            except ValueError as wrong:
                problems.add(f"line {reader.line_num}", str(wrong))
    except csv.Error as error:
        raise InvalidSpec(f"line {reader.line_num} is no csv: {error}") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")
