"""System accounts of users for a test, made and removed by root; and a Python that they may execute."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.product import ROOT


@contextlib.contextmanager
def accounts(folder: Path, *names: str) -> Iterator[list[pwd.struct_passwd]]:
    """Make accounts whose homes lie below ``folder``; they are removed at the end."""
    made = []
    try:
        for name in names:
            subprocess.run(
                ["useradd", "--no-create-home", "--home-dir", str(folder / name), "--shell", "/bin/sh", name],
                check=True,
            )
            entry = pwd.getpwnam(name)
            made.append(entry)
            (folder / name).mkdir(mode=0o700)
            os.chown(folder / name, entry.pw_uid, entry.pw_gid)
        yield made
    finally:
        for entry in made:
            subprocess.run(["userdel", entry.pw_name], check=False, capture_output=True)


def python_for(account: pwd.struct_passwd) -> tuple[str, str] | None:
    """Return an interpreter of this version that the account may execute, and the PYTHONPATH it needs; None: no such."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = [path for path in sys.path if path.endswith("site-packages")]
    path = os.pathsep.join([str(ROOT), str(ROOT / "widgets"), str(ROOT / "extension"), *packages])
    for program in (sys.executable, f"/usr/bin/{own}", f"/usr/local/bin/{own}"):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [program, "-c", "import jupyterhub.singleuser, octopus_hub, ipykernel"],
                env={"PYTHONPATH": path, "PATH": os.defpath},
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return program, path
    return None
