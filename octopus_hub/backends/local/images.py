"""Named environments of this machine: which interpreter a name means, and a digest over what is installed in it.

The digest is the SHA-256 of the environment's lock: interpreter version, platform and the sorted ``name==version`` of
every installed distribution. Computed by the interpreter itself, in a process of its own, and again when one of its
package folders changed. Called by the local backend.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from octopus_hub.backends.base import Image
from octopus_hub.backends.local.prepare import EnvironmentPaths
from octopus_hub.backends.local.store import Store
from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.record import Environment

DEFAULT = "default"
ALIASES = ("", "host")  # without an image of that name they mean the default one
PROBE_SECONDS = 60.0
_PROBE = """
import importlib.metadata as m, json, os, platform, sys
found = {}
for d in m.distributions():
    name = d.metadata["Name"]
    if name:
        found.setdefault(name.lower().replace("_", "-").replace(".", "-"), f"{name}=={d.version}")
print(json.dumps({"lock": sorted(found.values(), key=str.lower), "python": platform.python_version(),
    "implementation": platform.python_implementation(), "platform": f"{sys.platform}-{platform.machine()}",
    "libc": "-".join(platform.libc_ver()), "prefix": sys.prefix, "venv": sys.prefix != sys.base_prefix,
    "folders": [p for p in sys.path if os.path.isdir(p)]}))
"""
_decode_environment = msgspec.json.Decoder(Environment).decode


@dataclass(frozen=True, slots=True)
class _Known:
    """An environment as it was looked at last."""

    image: Image
    paths: EnvironmentPaths
    stamps: tuple[tuple[str, int], ...]


class Images:
    """The environments that a configuration names.

    Parameters
    ----------
    configured : mapping
        Name -> folder of a virtual environment, or an interpreter; ``default`` is the running one if not named.
    """

    def __init__(self, configured: Mapping[str, str], store: Store, *, clock: Callable[[], float]) -> None:
        self._pythons = {DEFAULT: sys.executable, **configured}
        self._store = store
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Lock] = {}

    @property
    def names(self) -> list[str]:
        """Names that can be asked for."""
        return sorted(self._pythons)

    async def resolve(self, name: str) -> Image:
        """Return the environment of a name, or the one that had this digest; raises InvalidSpec."""
        if name.startswith("sha256:"):
            return self._remembered(name)
        return (await self._look(self._name(name))).image

    async def paths(self, name: str, digest: str) -> EnvironmentPaths:
        """Return how to enter an environment; raises InvalidSpec when it is not what the digest says (any more)."""
        if not name and digest:
            name = self._remembered(digest).name
        known = await self._look(self._name(name))
        if digest and known.image.digest != digest:
            raise InvalidSpec(
                f"the environment {known.image.name} changed after this was submitted ({self._difference(known, digest)}); "
                "submit it again to run with what is installed now",
                now=known.image.digest,
                then=digest,
            )
        return known.paths

    def _name(self, name: str) -> str:
        if name in ALIASES and name not in self._pythons:
            return DEFAULT
        if name not in self._pythons:
            near = difflib.get_close_matches(name, self.names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InvalidSpec(
                f"there is no image {name}; {hint}this machine has {', '.join(self.names)} (images: in octopus.yaml)"
            )
        return name

    async def _look(self, name: str) -> _Known:
        async with self._looking.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            if known is None or known.stamps != _stamps(folder for folder, _ in known.stamps):
                known = await asyncio.to_thread(_examine, name, self._pythons[name])
                self._known[name] = known
                self._remember(known.image)
            return known

    def _remember(self, image: Image) -> None:
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET name = excluded.name",
                (image.digest, image.name, self._clock(), msgspec.json.encode(image.environment)),
            )

    def _remembered(self, digest: str) -> Image:
        rows = self._store.query("SELECT name, body FROM images WHERE digest = ?", (digest,))
        if not rows:
            raise InvalidSpec(
                f"no environment of this machine ever had the digest {digest[:100]}; name one: {', '.join(self.names)}"
            )
        return Image(name=rows[0][0], digest=digest, environment=_decode_environment(rows[0][1]))

    def _difference(self, known: _Known, digest: str) -> str:
        try:
            before = set(self._remembered(digest).environment.lock)
        except InvalidSpec:
            return "what it was is not known here"
        changed = sorted(before ^ set(known.image.environment.lock))
        if not changed:
            return "another Python or platform"
        return f"{', '.join(changed[:4])}{' and more' if len(changed) > 4 else ''}"


def interpreter(place: str) -> Path:
    """Return the interpreter of a virtual environment's folder, or the file itself; links stay, they say the venv."""
    path = Path(place)
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK) or path.is_dir():
        raise NotFound(
            f"there is no interpreter at {path}; correct images: in octopus.yaml, or make the environment again"
        )
    return path


def _examine(name: str, place: str) -> _Known:
    """Ask the interpreter what it is and what is installed; in a worker thread."""
    try:
        python = interpreter(place)
        # the environment of a task, as far as it matters here: nothing of the engine's
        env = {"PATH": os.defpath, "HOME": os.path.expanduser("~"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [str(python), "-c", _PROBE], env=env, cwd="/", capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except NotFound as error:
        raise InvalidSpec(f"image {name}: {error.message}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidSpec(f"image {name}: its interpreter {place} can't be run ({error})") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise InvalidSpec(f"image {name}: its interpreter {place} fails: {''.join(last)[:300]}")
    facts = json.loads(done.stdout)
    head = [f"python=={facts['python']}", facts["implementation"], facts["platform"], facts["libc"]]
    digest = "sha256:" + hashlib.sha256("\n".join([*head, *facts["lock"]]).encode()).hexdigest()
    variables = {"VIRTUAL_ENV": facts["prefix"]} if facts["venv"] else {}
    return _Known(
        image=Image(
            name=name,
            digest=digest,
            environment=Environment(
                image=name, digest=digest, lock=facts["lock"], python=facts["python"], platform=facts["platform"]
            ),
        ),
        paths=EnvironmentPaths(bin=str(python.parent), env=variables),
        stamps=_stamps([str(python), *facts["folders"]]),
    )


def _stamps(places: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return when each folder last changed; installing or removing a package changes its folder."""
    found: list[tuple[str, int]] = []
    for place in places:
        try:
            found.append((place, os.stat(place).st_mtime_ns))
        except OSError:
            found.append((place, 0))
    return tuple(found)
