"""Declared inputs (``spec.inputs``): what can be read here gets its digest, before a submission and before a replay.

A path or ``file:`` URI is hashed by the account that submits, which may read what the service may not. Everything else
(``https:``, ``s3:``, what is not there) is recorded as it was declared; the record says that nobody vouches for it.
Called by ``client.submission`` and ``octopus replay``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from octopus_hub.client.paths import expanded
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import Input

MAX_BYTES = 16 << 30  # about a minute; larger inputs come with the digest that their publisher states
MAX_FILES = 100_000
_CHUNK_BYTES = 1 << 20


class Unread(Exception):
    """The content can't be hashed here; the argument says why."""


def with_digests(inputs: Iterable[Input], base: Path) -> tuple[list[Input], list[str]]:
    """Return the inputs with digests, and notices about those without; raises InvalidSpec where a given digest is wrong.

    Relative paths are taken from ``base`` and recorded whole.
    """
    found: list[Input] = []
    notices: list[str] = []
    problems: list[str] = []
    for at, each in enumerate(inputs):
        path = local_path(each.uri, base)
        if path is None:
            found.append(each)
            continue
        uri = each.uri if urlsplit(each.uri).scheme or os.path.isabs(each.uri) else path.as_uri()
        try:
            digest = digest_of(path)
        except Unread as why:
            notices.append(f"input {each.uri} is recorded as it is declared: {why}")
            found.append(msgspec.structs.replace(each, uri=uri))
            continue
        if _comparable(each.digest) and each.digest != digest:
            problems.append(f"spec.inputs[{at}].digest: {each.uri} has {digest} now, not {each.digest}")
        found.append(msgspec.structs.replace(each, uri=uri, digest=each.digest or digest))
    if problems:
        raise InvalidSpec(f"{problems[0]}; correct or remove the digest", problems)
    return found, notices


def changes(inputs: Iterable[Input]) -> list[str]:
    """Say which inputs are not what their digests say any more; what was never hashed can't be judged."""
    found: list[str] = []
    for each in inputs:
        path = local_path(each.uri, Path("/"))
        if path is None or not _comparable(each.digest):
            continue
        try:
            digest = digest_of(path)
        except Unread as why:
            found.append(f"input {each.uri}: {why}")
            continue
        if digest != each.digest:
            found.append(f"input {each.uri}: its content changed ({digest[:19]}… now, {str(each.digest)[:19]}… then)")
    return found


def local_path(uri: str, base: Path) -> Path | None:
    """Return the path that a URI names on this machine, or None."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    text = unquote(parts.path) if parts.scheme else uri
    return Path(os.path.abspath(base / expanded(text))) if text else None


def digest_of(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file; of a folder, that of its list ``{digest}  {relative path}`` in path order.

    Raises Unread.
    """
    try:
        if path.is_dir():
            lines = [f"{_digest(file)}  {name}\n" for name, file in _files(path)]
            return f"sha256:{hashlib.sha256(''.join(lines).encode('utf-8', 'surrogateescape')).hexdigest()}"
        if not path.is_file():
            raise Unread(f"there is no file {path} here")
        if path.stat().st_size > MAX_BYTES:
            raise Unread(f"it is larger than {MAX_BYTES >> 30} GiB; give its digest to have it recorded")
        return f"sha256:{_digest(path)}"
    except OSError as error:
        raise Unread(f"{path} can't be read ({error.strerror})") from None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) > MAX_FILES or sum(path.stat().st_size for path in files) > MAX_BYTES:
        raise Unread(f"it holds more than {MAX_BYTES >> 30} GiB or {MAX_FILES} files; give its digest")
    return ((path.relative_to(folder).as_posix(), path) for path in files)


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def _comparable(digest: str | None) -> bool:
    return bool(digest) and str(digest).startswith("sha256:")
