"""What differs between two records, e.g. a run and its replay. Pure; needs the model only.

What decides whether a run was reproduced (end, exits, code, settings, packages, outputs by digest, metrics, cells) is a
difference; what no two runs share (times, memory, the executed notebook, which holds times) is beside the point and
told apart. Called by ``octopus replay --watch``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.model.record import OutputFile, Record, TaskEnd
from octopus_hub.runs.packages import changes

NONE = "none"
NOT_COMPARED = ("after", "hold", "seed", "workspace", "inputs")  # scheduling, or looked at by itself


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs; ``note`` says how much, or how."""

    part: str
    what: str
    before: str
    after: str
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.part} {self.what}: {self.before} -> {self.after}{note}"


@dataclass(slots=True)
class Comparison:
    """What two records share and what not.

    Attributes
    ----------
    same : list of str
        What is equal, in words.
    differences : list of Difference
        What was not reproduced.
    incidental : list of Difference
        What differs between any two runs.
    """

    before: str
    after: str
    same: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    incidental: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Everything that counts is the same."""
        return not self.differences

    def __str__(self) -> str:
        return render(self)


Part = Callable[[Record, Record], tuple[list[Difference], str]]


def compare(before: Record, after: Record) -> Comparison:
    """Return what differs between two records."""
    found = Comparison(_name(before), _name(after))
    for part in PARTS:
        differences, same = part(before, after)
        found.differences += differences
        if same and not differences:
            found.same.append(same)
    _outputs(before, after, found)
    found.incidental += _times(before, after)
    return found


def render(comparison: Comparison) -> str:
    """Return the comparison as text: what differs first, a line each."""
    count = len(comparison.differences)
    verdict = (
        "the same in all that counts"
        if comparison.equal
        else f"{count} thing{'s' * (count > 1)} differ{'s' * (count == 1)}"
    )
    lines = [f"{comparison.before} and {comparison.after}: {verdict}"]
    lines += [f"  {each}" for each in comparison.differences]
    if comparison.same:
        lines.append(f"  same: {', '.join(comparison.same)}")
    lines += [f"  (as between any two runs) {each}" for each in comparison.incidental]
    return "\n".join(lines)


# --- parts: differences, and what to say if there are none


def _end(before: Record, after: Record) -> tuple[list[Difference], str]:
    if before.phase is after.phase:
        return [], f"end {after.phase.value}"
    why = after.message or before.message
    return [Difference("end", "of the run", before.phase.value, after.phase.value, why)], ""


def _exits(before: Record, after: Record) -> tuple[list[Difference], str]:
    old = {member: _exit(task) for member, task in _last(before.tasks).items()}
    new = {member: _exit(task) for member, task in _last(after.tasks).items()}
    return list(_pairs("exit", old, new)), f"exits of {_count(len(new), 'task')}"


def _code(before: Record, after: Record) -> tuple[list[Difference], str]:
    if before.workspace == after.workspace:
        return [], "code" if after.workspace else ""
    return [
        Difference("code", "workspace", _short(before.workspace), _short(after.workspace), _commits(before, after))
    ], ""


def _settings(before: Record, after: Record) -> tuple[list[Difference], str]:
    old, new = _spec(before), _spec(after)
    images = before.resolved.get("images"), after.resolved.get("images")
    if images[0] == images[1]:  # a replay names by digest what the run named by name
        old = {path: value for path, value in old.items() if not path.endswith(".image")}
        new = {path: value for path, value in new.items() if not path.endswith(".image")}
    found = list(_pairs("setting", old, new))
    if before.seed != after.seed:
        found.append(Difference("setting", "seed", str(before.seed), str(after.seed)))
    descriptors = [dict(each.resolved.get("descriptors", {}).get("digests", {})) for each in (before, after)]
    found += _pairs("descriptor", *[{name: _short(value) for name, value in each.items()} for each in descriptors])
    return found, "settings, parameters and seed"


def _inputs(before: Record, after: Record) -> tuple[list[Difference], str]:
    old, new = ({str(each.get("uri")): _short(each.get("digest")) for each in one.inputs} for one in (before, after))
    return list(_pairs("input", old, new)), _count(len(new), "input") if new else ""


def _packages(before: Record, after: Record) -> tuple[list[Difference], str]:
    found: dict[str, list[str]] = {}
    for role in sorted(before.environments.keys() & after.environments.keys()):
        old, new = before.environments[role], after.environments[role]
        for change in changes(old, new):
            found.setdefault(change, []).append(role)
        if old.digest != new.digest and not changes(old, new):
            found.setdefault(f"{old.image} {_short(old.digest)} -> {_short(new.digest)}", []).append(role)
    number = max((len(each.lock) for each in after.environments.values()), default=0)
    return [
        _package(change, roles) for change, roles in found.items()
    ], f"{_count(number, 'package')} of the environment" if number else ""


def _package(change: str, roles: list[str]) -> Difference:
    where = f"of {', '.join(roles)}"
    if change.startswith("+ "):
        return Difference("package", change[2:].split(" ")[0], NONE, change[2:].partition(" ")[2], where)
    if change.startswith("- "):
        return Difference("package", change[2:].split(" ")[0], change[2:].partition(" ")[2], NONE, where)
    name, _, versions = change.partition(" ")
    old, _, new = versions.partition(" -> ")
    return Difference("package", name, old, new, where)


def _metrics(before: Record, after: Record) -> tuple[list[Difference], str]:
    found: list[Difference] = []
    for name in sorted(before.metrics.keys() | after.metrics.keys()):
        old, new = before.metrics.get(name), after.metrics.get(name)
        if old != new:
            found.append(Difference("metric", name, _number(old), _number(new), _delta(old, new)))
    return found, _count(len(after.metrics), "metric") if after.metrics else ""


def _cells(before: Record, after: Record) -> tuple[list[Difference], str]:
    old, new = ({f"{at + 1}": status for at, status in _statuses(each).items()} for each in (before, after))
    return list(_pairs("cell", old, new)), _count(len(new), "cell") if new else ""


PARTS: tuple[Part, ...] = (_end, _exits, _code, _settings, _inputs, _packages, _metrics, _cells)


def _outputs(before: Record, after: Record, found: Comparison) -> None:
    """Outputs by digest: changed, missing, new."""
    old, new = ({each.path: each for each in one.outputs} for one in (before, after))
    same = 0
    for path in sorted(old.keys() | new.keys()):
        was, is_ = old.get(path), new.get(path)
        if was and is_ and was.digest == is_.digest:
            same += 1
            continue
        how = "missing" if is_ is None else "new" if was is None else "changed"
        place = found.incidental if how == "changed" and _is_executed_notebook(after, path) else found.differences
        place.append(Difference("output", path, _content(was), _content(is_), how))
    if same:
        found.same.append(_count(same, "output"))


def _times(before: Record, after: Record) -> Iterator[Difference]:
    for what, first, last in (("waited", "queued_at", "started_at"), ("ran", "started_at", "finished_at")):
        old, new = (_seconds(getattr(each, first), getattr(each, last)) for each in (before, after))
        if old is not None and new is not None:
            yield Difference("time", what, f"{old:.1f} s", f"{new:.1f} s")


# --- words


def _pairs(part: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Difference(part, name, old.get(name, NONE), new.get(name, NONE))


def _name(record: Record) -> str:
    return f"{record.name}@{record.attempt}"


def _last(tasks: Iterable[TaskEnd]) -> dict[str, TaskEnd]:
    ordered = sorted(tasks, key=lambda task: task.attempt)
    return {f"{task.role} {task.index}": task for task in ordered}


def _exit(task: TaskEnd) -> str:
    if task.signal is not None:
        return f"signal {task.signal}"
    return task.state if task.exit_code is None else f"code {task.exit_code}"


def _spec(record: Record) -> dict[str, str]:
    spec = {name: value for name, value in record.spec.items() if name not in NOT_COMPARED}
    return dict(_flat(spec, ""))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for at, each in enumerate(value):
            name = each.get("name") if isinstance(each, dict) else None
            yield from _flat(each, f"{path}[{name or at}]")
    else:
        yield path, str(value)


def _statuses(record: Record) -> dict[int, str]:
    """Return the status of each submitted cell, in the last task that ran the notebook."""
    return {cell.index: cell.status for cells in record.cells.values() for cell in cells if cell.index >= 0}


def _is_executed_notebook(record: Record, path: str) -> bool:
    run = record.spec.get("run")
    name = str(run.get("notebook", "")).rsplit("/", 1)[-1] if isinstance(run, dict) else ""
    return bool(name) and path.partition("/")[2] == f"outputs/{name}"


def _content(file: OutputFile | None) -> str:
    return f"{_short(file.digest)} {file.size} B" if file else NONE


def _commits(before: Record, after: Record) -> str:
    old, new = ((each.git or {}).get("commit", "") for each in (before, after))
    return f"git {old[:10]} -> {new[:10]}" if old and new and old != new else ""


def _delta(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return ""
    relative = f", {(new - old) / abs(old):+.2%}" if old else ""
    return f"{new - old:+.6g}{relative}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.10g}"


def _short(digest: str | None) -> str:
    return f"{digest[:19]}…" if digest and len(digest) > 19 else digest or NONE


def _seconds(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(0.0, last - first)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
