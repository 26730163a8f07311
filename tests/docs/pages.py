"""Reads the documentation: its pages, links, fenced blocks and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_SHELL = frozenset({"sh", "bash", "console"})


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands beside it, its text."""

    page: Path
    language: str
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().splitlines()[0] if self.text.strip() else ''}"


def pages() -> list[Path]:
    """Return every page for readers, proposals apart, which tell of their time."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder in ("docs", "examples"):
        found += sorted((ROOT / folder).rglob("*.md"))
    return [page for page in found if "proposals" not in page.parts]


def blocks() -> list[Block]:
    """Return every fenced block of every page."""
    return [
        Block(page, match[1], match[2].strip(), match[3])
        for page in pages()
        for match in _FENCE.finditer(page.read_text())
    ]


def links(page: Path) -> list[str]:
    """Return the targets of a page's links to files, code left out."""
    text = _SPAN.sub("", _FENCE.sub("", page.read_text()))
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-"))
    return found


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Yield (page, words) of every ``octopus ...`` shown: in shell blocks, in indented ones, in the text."""
    for page in pages():
        text = page.read_text()
        lines = [line for match in _FENCE.finditer(text) if match[1] in _SHELL for line in match[3].splitlines()]
        rest = _FENCE.sub("", text)
        lines += re.findall(r"^    (\S.*)$", rest, re.MULTILINE)
        lines += _SPAN.findall(rest)
        for line in lines:
            for part in re.findall(r"(?:^|\$\(|&& |; )(octopus [^)&;>|]*)", line):
                yield page, shlex.split(part, comments=True)[1:]
