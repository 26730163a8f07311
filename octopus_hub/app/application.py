"""``octopus up``: the command line of the workbench. Reads options, starts, waits for a signal, stops, reports.

With ``--once NOTEBOOK`` it does the main job unattended and ends; with ``--stop-tasks`` it only ends what is left.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from traitlets import Bool, Int, Unicode
from traitlets.config import Application
from traitlets.config.loader import KVArgParseConfigLoader

from octopus_hub._version import __version__
from octopus_hub.app import checks, report
from octopus_hub.app.checks import check_platform
from octopus_hub.app.engine import LOOPBACK, Engine
from octopus_hub.app.walk import read_notebook, walk
from octopus_hub.app.workbench import Wishes, Workbench
from octopus_hub.backends.local import statefolder
from octopus_hub.client.connection import state_folder
from octopus_hub.model.errors import OctopusError, Unavailable

log = logging.getLogger(__name__)
LOG_FILE = "octopus.log"
LOG_BYTES = 16 << 20
END_SECONDS = 120.0


class OctopusUp(Application):
    """Start the workbench on this machine: engine, service and JupyterHub."""

    name = "octopus up"
    version = __version__
    description = __doc__
    examples = """
octopus up                        # JupyterHub on http://127.0.0.1:8000
octopus up --port 9000 --root-dir ~/projects
octopus up --hub-config my_hub.py # your own jupyterhub_config.py, ending with configure(c)
octopus up --stop-tasks           # end every TaskSet that an earlier run left, start nothing
"""

    ip = Unicode(LOOPBACK, config=True, help="Address on which browsers reach the hub.")
    port = Int(8000, config=True, help="Port of the hub; 0 takes a free one.")
    state = Unicode("", config=True, help="State folder; default: $OCTOPUS_STATE or ~/.local/state/octopus-hub.")
    config_yaml = Unicode("", config=True, help="octopus.yaml; default: the one in the state folder.")
    hub_config = Unicode("", config=True, help="A jupyterhub_config.py that calls configure(c).")
    root_dir = Unicode("", config=True, help="Folder that notebook servers show; default: the home folder.")
    user = Unicode("", config=True, help="The user who may log in; default: this account's name.")
    once = Unicode("", config=True, help="Run this notebook over the real hub, print what it prints, stop.")
    stop_tasks = Bool(False, config=True, help="Stop every TaskSet that is left, wait for the end, start nothing else.")

    aliases = {
        "ip": "OctopusUp.ip",
        "port": "OctopusUp.port",
        "state": "OctopusUp.state",
        "config": "OctopusUp.config_yaml",
        "hub-config": "OctopusUp.hub_config",
        "root-dir": "OctopusUp.root_dir",
        "user": "OctopusUp.user",
        "once": "OctopusUp.once",
        "log-level": "Application.log_level",
    }
    flags = {"stop-tasks": ({"OctopusUp": {"stop_tasks": True}}, "Stop every TaskSet that is left; start nothing.")}

    def _create_loader(self, *arguments: Any, **more: Any) -> KVArgParseConfigLoader:
        """Return traitlets' reader of command lines, strict: a mistyped option must not be passed over."""
        return _Strict(*arguments, **more, log=self.log, subcommands=self.subcommands)

    @classmethod
    def run(cls, argv: Sequence[str] | None = None) -> int:
        """Run with these arguments; returns the exit code. A failure is one sentence, in the last line."""
        logging.getLogger("octopus_hub").addHandler(logging.NullHandler())  # until the state folder is known
        app = cls()
        try:
            app.initialize(list(argv or ()))
            if app.extra_args:
                raise Unavailable(f"octopus up takes no {app.extra_args[0]!r}; see octopus up --help")
            asyncio.run(app.main())
        except OctopusError as error:
            return _failed(str(error))
        except KeyboardInterrupt:
            return 130
        except Exception as error:  # a fault of ours: users get a sentence, the log gets everything
            log.exception("octopus up failed")
            return _failed(f"a fault of octopus-hub: {type(error).__name__}: {error} (octopus.log has it all)")
        return 0

    async def main(self) -> None:
        """Do what the options say."""
        wishes = self.wishes()
        if self.stop_tasks:
            await self._stop_tasks(wishes)
            return
        tour = self._tour(wishes) if self.once else None
        bench = Workbench(wishes)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        if not await _unless(stopped, bench.start()):
            raise Unavailable("stopped while starting")
        try:
            if tour:
                if not await _unless(stopped, tour(bench)):
                    raise Unavailable("stopped before the notebook was done")
            else:
                _say(self._block(bench))
                await stopped.wait()
        finally:
            _say("stopping hub, proxy and servers ...")
            left = await bench.stop()
            _say(report.stopped(left))

    def wishes(self) -> Wishes:
        """Return the options as values; prepares the state folder and the log in it."""
        check_platform()
        state = statefolder.prepare(Path(self.state) if self.state else statefolder.default_folder())
        _log_to(state / LOG_FILE, self.log_level)
        return Wishes(
            state=state,
            user=checks.user_name(self.user),
            ip=checks.listen_address(self.ip),
            port=self.port,
            root_dir=str(_folder(self.root_dir)) if self.root_dir else "",
            config_file=_existing(self.config_yaml, "--config"),
            hub_config=_existing(self.hub_config, "--hub-config"),
        )

    def _block(self, bench: Workbench) -> str:
        password = bench.password_file.read_text().strip() if sys.stdout.isatty() else ""
        return report.started(
            bench.url,
            bench.wishes.user,
            bench.state,
            password_file=bench.password_file,
            password=password,
            address=self.ip if self.ip != LOOPBACK else "",
            shell=_shell(bench.state),
            command=_command(),
            as_root=os.geteuid() == 0,
            differing=bench.engine.backend.differing,
        )

    def _tour(self, wishes: Wishes) -> Callable[[Workbench], Coroutine[Any, Any, None]]:
        """Return the walk over a running workbench; what is wrong with the notebook is told before anything starts."""
        notebook = _existing(self.once, "--once")
        assert notebook is not None
        document = read_notebook(notebook)
        root = Path(wishes.root_dir or Path.home()).resolve()
        if root not in notebook.parents:
            raise Unavailable(f"{notebook} lies outside of {root}, which servers show; give its folder with --root-dir")

        async def tour(bench: Workbench) -> None:
            password = bench.password_file.read_text().strip()
            await walk(bench.url, bench.wishes.user, password, document, str(notebook.relative_to(root)))

        return tour

    async def _stop_tasks(self, wishes: Wishes) -> None:
        engine = Engine(wishes.state, wishes.user, config_file=wishes.config_file)
        await engine.start()
        try:
            left = engine.unfinished()
            for taskset in left:
                await engine.backend.update_intent(taskset.metadata.uid, stop=True)
            try:
                async with asyncio.timeout(END_SECONDS):
                    await engine.until_ended()
            except TimeoutError:
                names = ", ".join(each.name for each in engine.unfinished())
                raise Unavailable(f"not all have ended after {END_SECONDS:.0f} s: {names}; try again") from None
        finally:
            await engine.stop()
        _say(f"stopped {', '.join(each.name for each in left)}" if left else "no TaskSet was left")


async def _unless(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work unless the event comes first; says whether it was done. Its errors are raised."""
    task = asyncio.create_task(work)
    waiter = asyncio.create_task(stopped.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    task.result()
    return True


def _shell(state: Path) -> str:
    """Return what the account's shell needs to find this workbench."""
    usual = state_folder({name: value for name, value in os.environ.items() if name != "OCTOPUS_STATE"})
    return "in this account" if usual.resolve() == state else f"in this account, with OCTOPUS_STATE={state}"


def _command() -> str:
    """Return how the account's shell calls the command: by its path where the environment is not on ``PATH``."""
    own = Path(sys.executable).parent / "octopus"
    found = shutil.which("octopus")
    return "octopus" if not own.exists() or (found and os.path.samefile(found, own)) else str(own)


def _existing(text: str, option: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise Unavailable(f"{option} {text}: there is no such file")
    return path


def _folder(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise Unavailable(f"--root-dir {text}: there is no such folder")
    return path


def _failed(sentence: str) -> int:
    print(f"octopus up: {sentence}", file=sys.stderr, flush=True)
    return 1


class _Strict(KVArgParseConfigLoader):
    """Options that exist."""

    def _handle_unrecognized_alias(self, arg: str) -> None:
        raise Unavailable(f"octopus up has no option --{arg}; see octopus up --help")


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """A log that only its owner reads: under separate accounts others pass through the state folder."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, self.mode, opener=lambda path, flags: os.open(path, flags, 0o600))  # type: ignore[return-value]


class _Sentences(logging.Formatter):
    """What a terminal shows: the message, never a traceback (the log file has it)."""

    def formatException(self, ei: Any) -> str:
        """Return nothing."""
        return ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message alone."""
        record.exc_text = None  # made by a handler before us
        return super().format(record).rstrip()


def _log_to(file: Path, level: int | str) -> None:
    """Write everything of ours to a bounded file, warnings also to standard error."""
    own = logging.getLogger("octopus_hub")
    own.setLevel(logging.INFO)
    kept = _PrivateLog(file, maxBytes=LOG_BYTES, backupCount=2, delay=True)
    kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    shown = logging.StreamHandler()
    shown.setLevel(level)
    shown.setFormatter(_Sentences("octopus: %(message)s"))
    root = logging.getLogger()
    root.addHandler(kept)
    own.addHandler(shown)


def _say(text: str) -> None:
    print(text, flush=True)
