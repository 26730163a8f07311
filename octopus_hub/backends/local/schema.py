"""The tables of ``octopus.db`` and the steps from one version of them to the next.

A step is never changed once released; a change of the tables is a new step and a new version. Knows SQL only; called
by the store at open.
"""

from __future__ import annotations

import sqlite3

from octopus_hub.model.errors import StateError

_VERSION_1 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tasksets (
    uid TEXT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (namespace, name)
);
CREATE TABLE tasks (
    namespace TEXT NOT NULL, name TEXT NOT NULL, taskset_uid TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (namespace, name)
);
CREATE TABLE idempotency_keys (
    namespace TEXT NOT NULL, key TEXT NOT NULL, uid TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (namespace, key)
);
CREATE TABLE secrets (
    namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE TABLE records (
    uid TEXT NOT NULL, attempt INTEGER NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, folder TEXT NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (uid, attempt)
);
CREATE INDEX records_by_name ON records (namespace, name);
CREATE TABLE ledgers (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""

_VERSION_2 = """
CREATE TABLE addresses (uid TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE images (digest TEXT PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""

_VERSION_3 = """
CREATE TABLE objects (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""

STEPS = (_VERSION_1, _VERSION_2, _VERSION_3)
VERSION = len(STEPS)


def version(db: sqlite3.Connection) -> int:
    """Return the version of an open database; 0 is an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, path: str) -> int:
    """Bring the tables to :data:`VERSION`, each step in a transaction of its own; returns the version found."""
    found = version(db)
    if found > VERSION:
        raise StateError(
            f"{path} has schema version {found}, this octopus-hub knows up to {VERSION}; install the newer "
            "octopus-hub again, or give another folder with --state",
            found=found,
            known=VERSION,
        )
    for number in range(found, VERSION):
        # executescript commits what is open and then runs as it is written, so the script brings its transaction
        db.executescript(f"BEGIN IMMEDIATE; {STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
    return found
