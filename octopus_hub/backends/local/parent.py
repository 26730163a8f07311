"""The small parent of one local task: a stdlib-only program of its own that outlives the engine.

It waits at the gang's barrier, starts the user's command, bounds its log, watches its memory, forwards a stop,
and after the main process has ended kills every process that is left of the task before it writes ``exit.json``.
It must never import octopus_hub (it has to start fast and stay small) and never decide anything.
Started by :mod:`octopus_hub.backends.local.process` as ``python -I -S parent.py FOLDER`` with the task's
environment (secrets included) as JSON on its standard input, so that secrets never reach the disk.

Files in the folder are the truth, the two FIFOs (``control`` here, ``events`` of the engine) only wake a reader:
engine writes ``spec.json, release, stop``; the parent writes ``parent.json, started.json, usage.json, log*, exit.json``.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SAMPLE_SECONDS = 2.0
WATCH_SECONDS = 0.25  # memory is looked at this often where no cgroup enforces the limit
CHUNK = 1 << 18
RESERVE = 4096  # exit.json's space is taken before the start, so that a full disk can't lose the exit
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class StartFailure(Exception):
    """The command can't be started; args: end reason, message."""


def read_text(path: str) -> str:
    """Return a (proc or cgroup) file's text, "" if it can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read() or b"").decode(errors="replace")
    except OSError:
        return ""


def write_json(path: str, content: dict[str, Any]) -> None:
    """Replace a file whole."""
    with open(path + ".tmp", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file)
    os.rename(path + ".tmp", path)


def start_time(pid: int) -> int:
    """Return when the process started, in clock ticks after boot (0: no such process)."""
    text = read_text(f"/proc/{pid}/stat")
    return int(text.rpartition(")")[2].split()[19]) if text else 0


class Log:
    """The bounded log: ``log`` keeps the beginning, ``log.1``, ``log.2`` ... the rest; only the last ones are kept."""

    def __init__(self, head: int, segment: int, keep: int) -> None:
        self.head, self.segment, self.keep = head, segment, keep
        self.number, self.room, self.stored, self.lost = 0, head, 0, 0
        self.fd = -1

    def write(self, data: bytes) -> None:
        """Store what can be stored; never raises: what a full disk refuses is counted as lost."""
        view = memoryview(data)
        while view:
            try:
                if self.fd < 0:
                    self._open()
                done = os.write(self.fd, view[: self.room])
            except OSError:
                self.lost += len(view)
                return
            view = view[done:]
            self.room -= done
            self.stored += done
            if not self.room:
                os.close(self.fd)
                self.fd, self.number, self.room = -1, self.number + 1, self.segment

    def _open(self) -> None:
        if self.number > self.keep:
            with contextlib.suppress(OSError):
                os.unlink(f"log.{self.number - self.keep}")
        name = f"log.{self.number}" if self.number else "log"
        self.fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def prctl(option: int, value: int) -> None:
    """Call prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def tree(root: int) -> list[int]:
    """Return every living descendant of ``root``; what daemonised is a child of ours, because we are its reaper."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            children = [int(child) for child in read_text(f"/proc/{pid}/task/{thread}/children").split()]
            found += children
            todo += children
    return found


def resolve(command: str, path: str, folder: str) -> str:
    """Return the program's file as the shell would find it; raises StartFailure with the reason."""
    if not command:
        raise StartFailure("CommandNotFound", "the command is empty")
    if "/" in command:
        candidates = [os.path.join(folder, command)]
    else:
        candidates = [os.path.join(folder, part, command) for part in path.split(":") if part]
    found = [name for name in candidates if os.path.isfile(name)]
    if executable := [name for name in found if os.access(name, os.X_OK)]:
        return executable[0]
    if found:
        raise StartFailure(
            "NotExecutable", f"{command}: the file is not executable; chmod +x it, or start it with its interpreter"
        )
    if "/" in command and os.path.isdir(candidates[0]):
        raise StartFailure("NotExecutable", f"{command}: this is a folder")
    where = "in the task's folder" if "/" in command else f"in PATH ({path})"
    raise StartFailure("CommandNotFound", f"{command}: no such command {where}")


def exec_failure(command: str, program: str, error: OSError) -> StartFailure:
    """Word what execve refused."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        line = read_first_line(program)
        if line.startswith("#!"):
            return StartFailure("CommandNotFound", f"{command}: its interpreter {line[2:].strip()} does not exist")
        return StartFailure("CommandNotFound", f"{command}: no such command")
    if error.errno == errno.ENOEXEC:
        return StartFailure("NotExecutable", f"{command}: not a program, and its first line names no interpreter (#!)")
    if error.errno == errno.EACCES:
        return StartFailure("NotExecutable", f"{command}: may not be executed")
    if error.errno == errno.E2BIG:
        return StartFailure("NotExecutable", f"{command}: arguments and environment are too large for the system")
    return StartFailure("StartFailed", f"{command}: can't be started: {os.strerror(error.errno or 0)}")


def read_first_line(path: str) -> str:
    """Return the first line of a file, shortened."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.readline(256).decode(errors="replace")
    return ""


class Parent:
    """The state of one task from the barrier to its exit."""

    def __init__(self, spec: dict[str, Any], env: dict[str, str]) -> None:
        self.spec, self.env = spec, env
        self.cgroup: str = spec.get("cgroup") or ""
        self.limit = int(spec.get("memory_limit") or 0)
        self.log = Log(*spec["log"])
        self.started_at = 0.0
        self.started_ticks = 0.0
        self.peak = 0
        self.memory_killed = 0
        self.stop_why: str | None = None
        self.wish = ""  # the stop file as it was read last
        self.kill_at: float | None = None
        self.main = 0
        self.status: int | None = None
        self.output = -1
        self.usage: dict[str, Any] = {}
        self.reserve = -1
        self.poll = select.poll()

    # --- preparing and the barrier

    def prepare(self) -> None:
        """Take what the end needs (space, FIFO, reaping) before anything can go wrong."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.reserve = os.open("exit.json.tmp", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.posix_fallocate(self.reserve, 0, RESERVE)
        with contextlib.suppress(FileExistsError):
            os.mkfifo("control", 0o600)
        self.control = os.open("control", os.O_RDWR | os.O_NONBLOCK)
        self.wake, wake_write = os.pipe()
        for fd in (self.wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.poll.register(self.control, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)
        self.program = resolve(self.spec["command"][0] if self.spec["command"] else "", self.env["PATH"], self._cwd())

    def announce(self) -> None:
        """Say who we are and that we wait at the barrier."""
        boot = read_text("/proc/sys/kernel/random/boot_id").strip()
        pid = os.getpid()
        write_json("parent.json", {"pid": pid, "start_time": start_time(pid), "boot_id": boot, "bound_at": time.time()})
        self.notify()

    def barrier(self) -> bool:
        """Wait for the release; False: stopped before it."""
        while True:
            self._read_stop()
            if self.stop_why is not None:
                return False
            if os.path.exists("release"):
                return True
            self._wait(None)

    def notify(self) -> None:
        """Wake the engine, if one is there."""
        with contextlib.suppress(OSError):
            fd = os.open(self.spec["events"], os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(fd, self.spec["id"].encode() + b"\n")
            finally:
                os.close(fd)

    def _on_signal(self, number: int, frame: object) -> None:
        if number != signal.SIGCHLD and self.stop_why is None:
            self._stop(10.0, "the machine shuts down, or somebody stopped the task's parent")

    def _cwd(self) -> str:
        return os.path.join(self.spec["work"], self.spec.get("working_dir") or "")

    def _wait(self, seconds: float | None) -> None:
        """Sleep until output, a control byte, a signal or the time."""
        for fd, _ in self.poll.poll(None if seconds is None else max(0, int(seconds * 1000) + 1)):
            if fd == self.output:
                self._read_output()
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)

    # --- running

    def launch(self) -> None:
        """Start the user's command; raises StartFailure."""
        output, write_end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(output, 1031, 1 << 20)  # F_SETPIPE_SZ: fewer wake-ups
        os.set_blocking(output, False)
        error_read, error_write = os.pipe()
        self.main = os.fork()
        if self.main == 0:
            self._child(write_end, error_write)
        os.close(write_end)
        os.close(error_write)
        refusal = b""
        while part := os.read(error_read, 4096):  # ends when execve closes the other end
            refusal += part
        os.close(error_read)
        if refusal:
            os.waitpid(self.main, 0)
            reason, message = json.loads(refusal)
            raise StartFailure(reason, message)
        self.started_at, self.started_ticks = time.time(), time.monotonic()
        self.output = output
        self.poll.register(output, select.POLLIN)
        with contextlib.suppress(OSError):  # a full disk does not stop a task that runs
            write_json(
                "started.json",
                {"started_at": self.started_at, "pid": self.main, "start_time": start_time(self.main)},
            )
        self.notify()

    def _child(self, output: int, error: int) -> None:
        """Become the user's command. Never returns."""
        stage = "can't be started"
        try:
            os.setsid()
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            self._confine()
            stage = "its log can't be opened"
            null = os.open("/dev/null", os.O_RDONLY)
            for source, target in ((null, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            stage = f"can't enter the folder {self._cwd()}"
            self._become()
            os.chdir(self._cwd())
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
            os.umask(0o022)
            stage = ""
            os.execve(self.program, self.spec["command"], self.env)
        except OSError as caught:
            if stage:
                wrong = stage.startswith("can't enter") and caught.errno in (errno.ENOENT, errno.ENOTDIR)
                reason = "NotExecutable" if wrong else "StartFailed"  # trying again does not make the folder
                failure = StartFailure(reason, f"{self.spec['command'][0]}: {stage}: {caught.strerror}")
            else:
                failure = exec_failure(self.spec["command"][0], self.program, caught)
            os.write(error, json.dumps(failure.args).encode())
        except BaseException as caught:
            os.write(error, json.dumps(["StartFailed", f"{stage}: {caught}"]).encode())
        finally:
            os._exit(127)

    def _confine(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.cgroup:
            with open(os.path.join(self.cgroup, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))
        elif self.limit:
            # a belt beside the watched memory: far enough that libraries which map much and use little still work
            bound = 2 * self.limit + (2 << 30)
            resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
        with contextlib.suppress(OSError):
            os.nice(int(self.spec.get("nice") or 0))
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # when the machine runs out, tasks go before the engine and the hub

    def _become(self) -> None:
        account = self.spec.get("account")
        if account:
            os.initgroups(account["name"], account["gid"])
            os.setgid(account["gid"])
            os.setuid(account["uid"])

    def supervise(self) -> None:
        """Run until the main process has ended."""
        sample_at = time.monotonic()
        pause = SAMPLE_SECONDS if self.cgroup or not self.limit else WATCH_SECONDS
        while True:
            self._reap()
            if self.status is not None:
                return
            self._read_stop()
            now = time.monotonic()
            if self.kill_at is not None and now >= self.kill_at:
                self._signal_group(signal.SIGKILL)
                self.kill_at = now + 1.0
            if now >= sample_at:
                self._sample()
                sample_at = now + pause
            self._wait(min(sample_at, self.kill_at or sample_at) - now)

    def _reap(self) -> bool:
        """Collect ended children; False when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main and self.status is None:
                self.status = status

    def _read_stop(self) -> None:
        text = read_text("stop")
        if text and text != self.wish:
            self.wish = text
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                wish = json.loads(text)
                self._stop(float(wish.get("grace_seconds", 0)), str(wish.get("why", "")))

    def _stop(self, grace: float, why: str) -> None:
        """Begin to stop; a later wish can only shorten the grace."""
        first = self.stop_why is None
        if first:
            self.stop_why = why
        if self.main and self.status is None:
            until = time.monotonic() + max(0.0, grace)
            self.kill_at = until if self.kill_at is None else min(until, self.kill_at)
            if first:
                self._signal_group(signal.SIGTERM)

    def _signal_group(self, number: int) -> None:
        for send in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                send(self.main, number)

    def _read_output(self) -> bool:
        """Move what is there to the log; False at the end of the output."""
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return True
        if data:
            self.log.write(data)
            return True
        self.poll.unregister(self.output)
        os.close(self.output)
        self.output = -1
        return False

    # --- memory and time

    def _sample(self) -> None:
        pids = tree(os.getpid())
        memory = self._cgroup_memory() if self.cgroup else 0
        ticks = 0
        for pid in pids:
            fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if len(fields) > 21:
                ticks += sum(int(field) for field in fields[11:15])
            if not self.cgroup:
                parts = read_text(f"/proc/{pid}/statm").split()
                memory += (int(parts[1]) - int(parts[2])) * PAGE if len(parts) > 2 else 0
        if self.limit and not self.cgroup and memory > self.limit:
            memory = self._proportional(pids)
            if memory > self.limit:
                self.memory_killed = memory
                self._signal_group(signal.SIGKILL)
        self.peak = max(self.peak, memory)
        self._write_usage(memory, ticks / CLOCK_TICKS + self._reaped_seconds())

    def _proportional(self, pids: list[int]) -> int:
        """Return the memory with pages that processes share counted once."""
        total = 0
        for pid in pids:
            for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
        return total

    def _cgroup_memory(self) -> int:
        for name in ("memory.current", "memory.usage_in_bytes"):
            text = read_text(os.path.join(self.cgroup, name))
            if text:
                cache = 0
                for line in read_text(os.path.join(self.cgroup, "memory.stat")).splitlines():
                    if line.startswith(("inactive_file ", "active_file ")):
                        cache += int(line.split()[1])
                return max(0, int(text) - cache)
        return 0

    def _cgroup_kills(self) -> int:
        for name in ("memory.events", "memory.oom_control"):
            for line in read_text(os.path.join(self.cgroup, name)).splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def _reaped_seconds(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def _write_usage(self, memory: int, seconds: float) -> None:
        usage = {
            "memory_bytes": memory,
            "peak_memory_bytes": self.peak,
            "cpu_seconds": round(seconds, 2),
            "log_bytes": self.log.stored,
        }
        if usage != self.usage:
            self.usage = usage
            with contextlib.suppress(OSError):
                write_json("usage.json", usage)

    # --- the end

    def clean(self) -> None:
        """Kill and reap until nothing of the task is left, then take the rest of its output."""
        while True:
            for pid in tree(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not self._reap():
                break
            self._wait(0.02)
        deadline = time.monotonic() + 2.0  # something outside our tree may have been handed the pipe
        while self.output >= 0 and time.monotonic() < deadline:
            if not self._read_output():
                break
            if self.output >= 0:
                self.poll.poll(50)

    def verdict(self) -> dict[str, Any]:
        """Return how the task ended."""
        assert self.status is not None
        signalled = os.WIFSIGNALED(self.status)
        end = failed("", "")
        end["signal" if signalled else "exit_code"] = (os.WTERMSIG if signalled else os.WEXITSTATUS)(self.status)
        if self.memory_killed or (self.status != 0 and self.cgroup and self._cgroup_kills()):
            used = self.memory_killed or max(self.peak, self.limit)
            end |= failed(
                "OOMKilled", f"killed for memory: used {used / 2**30:.2f} GiB of {self.limit / 2**30:.2f} GiB"
            )
        elif self.stop_why is not None:
            end |= stopped(self.stop_why)
        if self.log.lost:
            note = f"the disk was full: {self.log.lost} bytes of output were lost"
            end["message"] = f"{end['message']}; {note}" if end["message"] else note
        return end

    def finish(self, end: dict[str, Any]) -> None:
        """Write exit.json, durable and whole, into the space reserved for it."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        finished = time.time()
        if self.started_at:  # a clock that was set back can't make a task end before it started
            finished = max(finished, self.started_at)
            self.peak = max(self.peak, used.ru_maxrss * 1024)
        content = {
            **end,
            "started_at": self.started_at or None,
            "finished_at": finished,
            "elapsed_seconds": round(time.monotonic() - self.started_ticks, 3) if self.started_at else 0.0,
            "peak_memory_bytes": self.peak,
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
            "log_bytes": self.log.stored,
        }
        content["message"] = str(content["message"])[:2000]
        if self.reserve < 0:
            self.reserve = os.open("exit.json.tmp", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        data = json.dumps(content).encode()
        os.pwrite(self.reserve, data, 0)
        os.ftruncate(self.reserve, len(data))
        os.fsync(self.reserve)
        os.rename("exit.json.tmp", "exit.json")
        os.fsync(os.open(".", os.O_RDONLY))
        self._remove_cgroup()
        self.notify()

    def _remove_cgroup(self) -> None:
        for _ in range(50):  # the kernel lets go of ended processes a little later
            try:
                if self.cgroup:
                    os.rmdir(self.cgroup)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def failed(reason: str, message: str) -> dict[str, Any]:
    """Return how a task ended without exit code or signal."""
    return {"end_reason": reason, "message": message}


def stopped(why: str) -> dict[str, Any]:
    """Return the end reason of a task we stopped: the reason asked for, or ``Stopped`` with the words."""
    known = why in ("Preempted", "Evicted", "NodeLost", "Resized", "Stopped")
    return failed(why if known else "Stopped", "" if known else why)


def run(parent: Parent) -> dict[str, Any]:
    """Take the task from preparing to its end; returns how it ended."""
    try:
        parent.prepare()
        parent.announce()
        if not parent.barrier():
            return stopped(parent.stop_why or "")
        parent.launch()
    except StartFailure as failure:
        return failed(*failure.args)
    except OSError as error:
        if error.errno in NO_SPACE:
            return failed("DiskFull", "the disk that holds the state folder is full")
        return failed("StartFailed", f"the task could not be prepared: {error}")
    parent.supervise()
    parent.clean()
    return parent.verdict()


def main(folder: str) -> int:
    """Be the parent of the task whose folder is given."""
    os.chdir(folder)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3  # another parent lives: a task is never started twice
    if os.path.exists("exit.json"):
        return 3  # given up (or ended) before we came
    with open("spec.json") as file:
        spec = json.load(file)
    text = sys.stdin.buffer.read()
    if not text:
        return 4  # the engine died before it handed over the environment
    parent = Parent(spec, json.loads(text))
    end = run(parent)
    for _ in range(100):
        try:
            parent.finish(end)
            return 0
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            time.sleep(0.1)
    return errno.ENOSPC


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
