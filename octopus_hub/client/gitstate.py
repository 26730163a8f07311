"""The git state of a workspace, for the record: commit, branch, uncommitted changes, remote without credentials.

Asks the ``git`` program and changes nothing; a folder without git, or a machine without it, has no state.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

TIMEOUT_SECONDS = 10.0


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return ``{"commit", "branch", "dirty", "remote"}`` or None."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--", ".")
    state: dict[str, Any] = {"commit": commit, "dirty": changes is None or bool(changes)}
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if branch and branch != "HEAD":
        state["branch"] = branch
    remote = _git(folder, "remote", "get-url", "origin")
    if remote:
        state["remote"] = without_credentials(remote)
    return state


def without_credentials(remote: str) -> str:
    """Return a remote's address without user, password, token or query."""
    if "://" not in remote:
        return re.sub(r"^[^/@]*:[^/@]*@", "", remote)  # user@host:path stays: the user names no secret
    try:
        parts = urlsplit(remote)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _git(folder: Path, *arguments: str) -> str | None:
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            # fsmonitor is a program that a repository may name; looking at a folder should not run it
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env=environ,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
