"""What programs do to a running engine: missing, daemonising, endless output, binary output, signals, hostile files.

All are submitted at once by a fixture and looked at when they have ended.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.model.status import Phase
from tests.faults.faulty import STUBBORN, Faulty
from tests.product import alive, until

pytestmark = pytest.mark.xdist_group("faults")
GIB = 1 << 30
LOG_LIMIT = 4 << 20  # conftest.LIMITS
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('daemon', 'w').write(str(os.getpid()))
        os.execve('/bin/sleep', ['sleep', '1000'], {})  # nothing in its environment tells whose it is
    os._exit(0)
while not os.path.exists('daemon') or not open('daemon').read():
    time.sleep(0.01)
"""
FLOOD = """
import os
line = b'x' * 63 + b'\\n'
os.write(1, b'the beginning\\n')
for _ in range(1024):
    data = memoryview(line * (1 << 14))
    while data:
        data = data[os.write(1, data):]
os.write(1, b'the end\\n')
"""
KEPT = {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
SIGNALS = [number for number in range(1, 32) if number not in {*KEPT, signal.SIGURG, signal.SIGWINCH}]
REMOVES = "import os, shutil, time\nprint('up', flush=True)\nshutil.rmtree({what})\nprint('gone', flush=True)"
METRICS = "import os; open(os.environ['OCTOPUS_METRICS'], 'w').write({line!r} + '\\n')"
CELLS = (
    '{"index": 1e400, "started": 1, "status": "\\ud800"}\n{"index": 1' + "0" * 400 + ', "started": NaN, "status": 1}\n'
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture(scope="module")
def ran(engine: Faulty) -> Iterator[dict[str, dict[str, Any]]]:
    """Everything at once; the status of each by its name."""
    kept = "|".join(str(int(number)) for number in KEPT)
    signals = f"number=$((OCTOPUS_INDEX + 1)); case $number in {kept}) exit 0;; esac; kill -$number $$; exit 0"
    jobs: dict[str, tuple[str | list[str], dict[str, Any]]] = {
        "flood": (python(FLOOD), {}),
        "missing": (["no-such-program", "--fast"], {"role": {"replicas": 2}}),
        "daemon": (python(DAEMON), {}),
        "binary": (python("import os; os.write(1, bytes(range(256)) * 3)"), {}),
        "signals": (signals, {"role": {"replicas": 31, "resources": {"cpu": "10m"}, "completion": {"maxFailed": 31}}}),
        "big-metric": (python(METRICS.format(line='{"metrics": {"a": 1' + "0" * 400 + ', "b": 2}}')), {}),
        "half-metric": (python(METRICS.format(line='{"metrics": {"\\ud800": 1, "b": 2}}')), {}),
        "long-name": (python("open('outputs/' + '\\u5b57' * 84 + '.t', 'w').write('x')"), {}),
        "sparse": (python(f"open('outputs/hole', 'wb').truncate({GIB})"), {}),
        "deep": (
            python("import os\nos.chdir('outputs')\nfor _ in range(300): os.mkdir('d' * 20); os.chdir('d' * 20)"),
            {},
        ),
        "linked": (
            python("import os, shutil\nw = os.getcwd(); shutil.rmtree(w); os.symlink('/etc', w)"),
            {"outputs": ["**"]},
        ),
        "patterns": ("echo x > outputs/a", {"outputs": ["/".join(["**"] * 30 + ["no"]), "/".join(["**/a"] * 30)]}),
        "no-work": (python(REMOVES.format(what="os.getcwd()")), {}),
        "no-folder": (python(REMOVES.format(what="os.path.dirname(os.getcwd())")), {}),
        "words": (python(r"import os; open('.octopus/message', 'wb').write(b'\xff\0\x1b[2J' * 9999); os._exit(3)"), {}),
        "closed": ("exec 1>&- 2>&-; sleep 0.2; exit 4", {}),
        "forged": (python("open('../exit.json', 'w').write('{\"exit_code\": 0}')\nraise SystemExit(6)"), {}),
    }
    for name, (command, more) in jobs.items():
        engine.submit(name, command, **more)
    yield dict(zip(jobs, engine.ended(*jobs), strict=True))
    for name in jobs:
        engine.client().delete(f"tasksets/-/{name}")


def test_a_command_that_does_not_exist(engine: Faulty, ran: dict[str, dict[str, Any]]) -> None:
    status = ran["missing"]
    assert (status["phase"], status["reason"]) == ("Failed", "CommandNotFound")
    assert "no-such-program" in status["message"] and "PATH" in status["message"]
    assert engine.record("missing")["tasks"][0]["failureClass"] == "permanent"


def test_a_task_that_daemonises_is_cleaned_up_before_its_end_is_told(engine: Faulty, ran: dict[str, Any]) -> None:
    assert ran["daemon"]["phase"] == "Succeeded"
    (folder,) = engine.folders("daemon")
    assert alive([int((folder / "work" / "daemon").read_text())]) == []


def test_a_gigabyte_of_output_is_bounded_and_its_ends_kept(engine: Faulty, ran: dict[str, Any]) -> None:
    assert ran["flood"]["phase"] == "Succeeded"
    (row,) = engine.tasks("flood")
    assert row["logBytes"] >= GIB or row["logBytes"] <= LOG_LIMIT
    (folder,) = engine.folders("flood")
    assert sum(path.stat().st_size for path in folder.glob("log*")) <= LOG_LIMIT
    text = engine.text("flood")
    assert len(text) <= LOG_LIMIT + 200
    assert text.startswith("the beginning\n") and text.endswith("the end\n")
    assert engine.text("flood", "?tail=1") == "the end\n"


def test_binary_output_comes_back_as_it_is(engine: Faulty, ran: dict[str, Any]) -> None:
    answer = engine.client().get("tasksets/-/binary/logs", headers={"Accept": "application/octet-stream"})
    assert answer.content == bytes(range(256)) * 3
    shown = engine.run(["sh", "-c", "octopus logs binary | od -An -v -tx1 | tr -d ' \\n'"]).stdout
    assert bytes.fromhex(shown) == bytes(range(256)) * 3, "the command passes it on as it is"


def test_the_end_by_each_signal_is_told(engine: Faulty, ran: dict[str, Any]) -> None:
    rows = {row["index"] + 1: row for row in engine.tasks("signals")}
    assert {number: rows[number].get("signal") for number in SIGNALS} == {number: number for number in SIGNALS}
    ends = {end["index"] + 1: end for end in engine.record("signals")["tasks"]}
    for number in SIGNALS:
        cause = ends[number]["cause"]
        assert signal.Signals(number).name in cause or f"signal {number}" in cause, cause


@pytest.mark.parametrize(
    "name", ["big-metric", "half-metric", "sparse", "deep", "linked", "patterns", "long-name", "no-work"]
)
def test_what_it_leaves_never_stops_its_end_and_its_record(engine: Faulty, ran: dict[str, Any], name: str) -> None:
    assert ran[name]["phase"] == "Succeeded"
    record = engine.record(name)
    paths = [output["path"] for output in record.get("outputs", [])]
    expected = {"sparse": 1, "long-name": 1, "patterns": 1}
    assert len(paths) == expected.get(name, 0), paths
    if name == "deep":
        assert "can't be read: file name too long" in record["message"], "what is left out is said"
    if name.endswith("metric"):
        assert record["metrics"]["b"] == 2
    if name == "sparse":
        kept = Path(record["path"], "outputs", paths[0])
        assert kept.stat().st_size == GIB and kept.stat().st_blocks * 512 < 1 << 20


def test_a_task_that_removes_its_own_folder_ends(engine: Faulty, ran: dict[str, Any]) -> None:
    assert ran["no-folder"]["phase"] in ("Failed", "Succeeded")
    assert engine.record("no-folder")["phase"] == ran["no-folder"]["phase"]


def test_words_of_a_task_about_its_end_are_bounded_and_plain(engine: Faulty, ran: dict[str, Any]) -> None:
    message = ran["words"]["message"]
    assert "exit code 3" in message and len(message) < 1500 and message.isprintable()


def test_a_task_without_output_and_one_that_forges_its_end(ran: dict[str, Any]) -> None:
    assert (ran["closed"]["phase"], ran["forged"]["phase"]) == ("Failed", "Failed")
    assert "exit code 6" in ran["forged"]["message"]


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace(engine: Faulty) -> None:
    name = engine.submit("stubborn", STUBBORN)
    engine.up(name)
    began = time.monotonic()
    engine.client().post(f"tasksets/-/{name}/stop")
    engine.until(name, Phase.STOPPING)
    (status,) = engine.ended(name)
    assert status["phase"] == "Stopped" and time.monotonic() - began < 60
    (row,) = engine.tasks(name)
    assert row["signal"] == signal.SIGKILL and engine.strays(name) == []


# --- archives


def _archive(*members: tuple[str, dict[str, Any]]) -> bytes:
    heads = []
    for name, facts in members:
        info = tarfile.TarInfo(name)
        for key, value in facts.items():
            setattr(info, key, value)
        heads.append(info.tobuf())  # without content: what is to be refused is refused by its head
    return gzip.compress(b"".join(heads) + bytes(1024))


ARCHIVES: dict[str, tuple[list[tuple[str, dict[str, Any]]], str]] = {
    "absolute": ([("/tmp/owned", {})], "has an absolute name"),
    "above": ([("../../../owned", {})], "leaves the folder"),
    "link-out": ([("link", {"type": tarfile.SYMTYPE, "linkname": "../../../.."})], "leaves the folder"),
    "absolute-link": ([("link", {"type": tarfile.SYMTYPE, "linkname": "/etc"})], "points to an absolute path"),
    "through-link": (
        [("d", {"type": tarfile.SYMTYPE, "linkname": "e"}), ("d/x", {})],
        "goes through 'd', which is not a folder",
    ),
    "hard-link": ([("x", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})], "has an absolute name"),
    "device": ([("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})], "is a device or a pipe"),
    "bomb": ([("zeros", {"size": 2 * GIB})], "unpacked it is larger than"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_hostile_workspace_never_reaches_its_task(engine: Faulty, case: str) -> None:
    members, words = ARCHIVES[case]
    content = _archive(*members)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert engine.client().put(f"blobs/{digest}", content=content).status_code == 201
    name = engine.submit(f"hostile-{case}", "touch ran", workspace={"digest": digest})
    (status,) = engine.ended(name)
    assert status["phase"] == "Failed" and words in status["message"], status
    assert engine.folders(name) == [] or not any((folder / "work" / "ran").exists() for folder in engine.folders(name))
    assert not os.path.exists("/tmp/owned") and not (engine.folder / "owned").exists()


def test_no_archive_at_all(engine: Faulty) -> None:
    for content in (b"not an archive", b"\x1f\x8b" + b"\0" * 100, b""):
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert engine.client().put(f"blobs/{digest}", content=content).status_code == 201
        name = engine.submit("no-archive", "touch ran", workspace={"digest": digest})
        (status,) = engine.ended(name)
        assert status["phase"] == "Failed" and "workspace archive is refused" in status["message"]


# --- the folder of a task that runs


def test_a_work_folder_that_is_removed_while_the_task_runs(engine: Faulty) -> None:
    name = engine.submit("pulled", "echo started >> starts; while [ -e starts ]; do sleep 0.05; done; exit 5")
    engine.up(name)
    (folder,) = engine.folders(name)
    shutil.rmtree(folder / "work")
    (status,) = engine.ended(name)
    assert status["phase"] == "Failed" and "exit code 5" in status["message"]
    until(lambda: engine.strays(name) == [], "nothing is left")
