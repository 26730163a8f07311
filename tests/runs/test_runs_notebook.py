"""Notebook runs: real papermill and real kernels through the controller and the local backend."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from octopus_hub.core.notebook import notebook_files
from octopus_hub.model.record import Record
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, RunSpec
from tests.runs.engine import Engine, notebook, parameters, run_of


def cells_of(record: Record) -> list[tuple[int, str]]:
    (cells,) = record.cells.values()
    return [(cell.index, cell.status) for cell in cells]


def executed(record: Record, name: str = "train.ipynb") -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(record.path, "outputs", "main-0", "outputs", name).read_text())
    return found


async def test_a_notebook_runs_with_its_parameters_and_seed(engine: Engine) -> None:
    source = notebook(
        parameters("lr = 1.0\nname = ''"),
        {"cell_type": "markdown", "source": "# Training"},
        "import os, json, pathlib\nprint('lr is', lr, flush=True)",
        "pathlib.Path('result.json').write_text(json.dumps([lr, name, os.environ['OCTOPUS_SEED']]))",
    )
    record = await engine.run(
        "train", {"nb/train.ipynb": source}, outputs=["result.json"], **run_of("nb/train.ipynb", lr=1e-5, name="1")
    )
    assert record.phase is Phase.SUCCEEDED, record.message
    assert record.parameters == {"lr": 1e-5, "name": "1"} and record.seed == 7
    assert cells_of(record) == [(0, "completed"), (-1, "completed"), (2, "completed"), (3, "completed")]
    (cells,) = record.cells.values()
    assert all(cell.started_at and cell.ended_at and cell.started_at <= cell.ended_at for cell in cells)
    assert [output.path for output in record.outputs] == ["main-0/outputs/train.ipynb", "main-0/result.json"]
    assert json.loads(Path(record.path, "outputs/main-0/result.json").read_text()) == [1e-5, "1", "7"]
    log = Path(record.path, record.tasks[0].log).read_text()
    assert "lr is 1e-05" in log and "cell 3 of 4" in log, "what cells print is in the log while they run"
    assert len(executed(record)["cells"]) == 5  # type: ignore[arg-type]


async def test_a_failing_cell_is_named_with_its_error(engine: Engine) -> None:
    source = notebook("x = 1", "raise ValueError('no such file: data.csv')", "print('never')")
    record = await engine.run("train", {"train.ipynb": source}, **run_of())
    assert record.phase is Phase.FAILED
    assert record.tasks[0].exit_code == 1
    sentence = "cell 2 of train.ipynb failed: ValueError: no such file: data.csv"
    assert sentence in record.message and sentence in record.tasks[0].cause
    assert cells_of(record) == [(0, "completed"), (1, "failed")]
    (cells,) = record.cells.values()
    assert cells[1].error == "ValueError: no such file: data.csv"
    assert sentence in Path(record.path, record.tasks[0].log).read_text()
    assert [output.path for output in record.outputs] == ["main-0/outputs/train.ipynb"]


async def test_a_killed_kernel_is_a_failure_whatever_papermill_writes(engine: Engine) -> None:
    """Law 13."""
    source = notebook("x = 1", "import os\nos.kill(os.getpid(), 9)", "print('never')")
    record = await engine.run("train", {"train.ipynb": source}, **run_of())
    assert record.phase is Phase.FAILED and record.tasks[0].exit_code == 1
    assert "cell 2 of train.ipynb lost its kernel: the kernel was ended by SIGKILL" in record.message
    assert cells_of(record) == [(0, "completed"), (1, "dead kernel")]
    states = [cell["metadata"]["papermill"]["status"] for cell in executed(record)["cells"]]  # type: ignore[attr-defined]
    assert states == ["completed", "failed", "pending"], "the kept notebook says it, too"


async def test_a_stopped_run_keeps_what_was_executed(engine: Engine) -> None:
    source = notebook("print('one')", "open('going', 'w').close()\nimport time\ntime.sleep(600)")
    job = await engine.submit("train", {"train.ipynb": source}, **run_of())
    work = engine.folder / "tasks/anna/train/train-main-0-1/work"
    await engine.phase(job, Phase.RUNNING)
    await engine.until_file(work / "going")
    await engine.backend.update_intent(job.metadata.uid, stop=True)
    record = await engine.recorded(job)
    assert record.phase is Phase.STOPPED
    assert cells_of(record) == [(0, "completed"), (1, "interrupted")]
    assert executed(record)["cells"][0]["outputs"][0]["text"] == ["one\n"]  # type: ignore[index]


async def test_a_task_that_is_killed_leaves_an_interrupted_cell(engine: Engine) -> None:
    """The program itself dies without a word; the kernel kills it."""
    source = notebook("x = 1", "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(600)")
    record = await engine.run("train", {"train.ipynb": source}, **run_of())
    assert record.phase is Phase.FAILED and record.tasks[0].signal == 9
    assert cells_of(record) == [(0, "completed"), (1, "interrupted")]


async def test_exit_and_expected_errors_are_no_failure(engine: Engine) -> None:
    expected = {"source": "1 / 0", "metadata": {"tags": ["raises-exception"]}}
    record = await engine.run("a", {"train.ipynb": notebook(expected, "import sys\nsys.exit(0)", "1")}, **run_of())
    assert record.phase is Phase.SUCCEEDED, record.message
    assert cells_of(record) == [(0, "completed"), (1, "exited")]


async def test_the_kernel_is_the_environment_of_the_task_whatever_the_account_has_installed(engine: Engine) -> None:
    """A kernel of that name in the account's folder must not run instead of the one the record vouches for."""
    role = Role("main", env={"JUPYTER_DATA_DIR": "/nonexistent", "JUPYTER_PATH": "/nonexistent"})
    source = notebook("import sys\nopen('which', 'w').write(sys.prefix)", kernel="some-other-env")
    record = await engine.run("train", {"train.ipynb": source}, roles=[role], outputs=["which"], **run_of())
    assert record.phase is Phase.SUCCEEDED, record.message
    assert Path(record.path, "outputs/main-0/which").read_text() == sys.prefix


async def test_a_missing_notebook_says_what_to_do(engine: Engine) -> None:
    record = await engine.run("train", {"other.txt": ""}, **run_of("nb/train.ipynb"))
    assert record.phase is Phase.FAILED
    assert "there is no notebook nb/train.ipynb in the workspace; submit from the folder" in record.message
    assert record.cells == {}


async def test_a_damaged_notebook_says_so(engine: Engine) -> None:
    record = await engine.run("train", {"train.ipynb": "{"}, **run_of())
    assert "train.ipynb is not a notebook that can be read" in record.message


async def test_braces_in_a_name_are_just_braces(engine: Engine) -> None:
    record = await engine.run("train", {"a{b}.ipynb": notebook("x = 1")}, **run_of("a{b}.ipynb", x=1))
    assert record.phase is Phase.SUCCEEDED, record.message
    assert [output.path for output in record.outputs] == ["main-0/outputs/a{b}.ipynb"]


async def test_a_working_directory_below_the_workspace(engine: Engine) -> None:
    role = Role("main", working_dir="/workspace/deep/er")
    source = notebook("import os\nprint(os.getcwd())")
    files = {"train.ipynb": source, "deep/er/x": ""}
    record = await engine.run("train", files, roles=[role], **run_of())
    assert record.phase is Phase.SUCCEEDED, record.message
    text = executed(record)["cells"][0]["outputs"][0]["text"]  # type: ignore[index]
    assert "".join(text).strip().endswith("work/deep/er")


def test_an_environment_without_papermill_says_what_to_install(tmp_path: Path) -> None:
    """The program as it travels, in a real environment that has nothing."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    work = tmp_path / "work"
    for path, text in notebook_files(RunSpec(notebook="train.ipynb")).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text)
    done = subprocess.run(
        [tmp_path / "bare/bin/python", ".octopus/notebook.py"], cwd=work, capture_output=True, text=True, check=False
    )
    sentence = (
        f"the environment {tmp_path}/bare has no papermill and no ipykernel; install papermill and ipykernel there, "
        "or name another image"
    )
    assert (done.returncode, done.stderr, done.stdout) == (1, sentence + "\n", "")
    assert (work / ".octopus/message").read_text() == sentence


async def test_an_executed_notebook_runs_again(engine: Engine) -> None:
    """It holds injected parameters already; papermill replaces them, and cells are counted as submitted."""
    injected = {"source": "lr = 2", "metadata": {"tags": ["injected-parameters"]}}
    source = notebook(parameters("lr = 1"), injected, "assert lr == 3", "1 / 0")
    record = await engine.run("again", {"train.ipynb": source}, **run_of(lr=3))
    assert "cell 4 of train.ipynb failed: ZeroDivisionError: division by zero" in record.message
    assert cells_of(record) == [(0, "completed"), (-1, "completed"), (2, "completed"), (3, "failed")]
