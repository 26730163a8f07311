"""TaskSets whose devices idle (``lifetime.idle``): a warning as a condition, or the end. Pure; called by ``running``.

Only what backends can observe counts: a TaskSet none of whose devices tells its use is never called idle.
"""

from __future__ import annotations

from octopus_hub.core.draft import Draft
from octopus_hub.core.stopping import begin_stopping
from octopus_hub.model.status import Condition
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Idle

CONDITION = "Idle"


def ended(draft: Draft) -> bool:
    """Look at the devices' use; says whether the TaskSet is stopped for idling."""
    rule = draft.taskset.spec.lifetime.idle
    if rule is None:
        return False
    highest = _highest(draft)
    if highest is None or highest >= rule.util_below_percent:
        draft.set(idle_since=None)
        _tell(draft, False, "")
        return False
    since = draft.old.idle_since if draft.old.idle_since is not None else draft.now
    draft.set(idle_since=since)
    if draft.now < since + rule.for_seconds:
        draft.wake(since + rule.for_seconds)
        return False
    message = _words(rule, highest)
    if rule.action == "stop":
        begin_stopping(draft, ("Stopped", "Idle", message))
        return True
    _tell(draft, True, f"{message}; stop it if it does nothing useful")
    return False


def _highest(draft: Draft) -> float | None:
    """Return the use of the busiest device in percent, None where no device tells."""
    running = [task for task in draft.rows.latest() if task.state is TaskState.RUNNING]
    told = [percent for task in running for percent in task.usage.device_percent.values()]
    return max(told, default=None)


def _words(rule: Idle, highest: float) -> str:
    return (
        f"no device of it was used above {rule.util_below_percent:g} % for {rule.for_seconds:g} s "
        f"(the busiest is at {highest:g} % now)"
    )


def _tell(draft: Draft, status: bool, message: str) -> None:
    known = next((each for each in draft.old.conditions if each.type == CONDITION), None)
    if (known is not None and known.status) == status:
        return  # the words of the first warning stay: its numbers change all the time
    told = Condition(
        type=CONDITION, status=status, reason=CONDITION if status else "Used", message=message, at=draft.now
    )
    others = [each for each in draft.old.conditions if each.type != CONDITION]
    draft.set(conditions=[*others, told])
