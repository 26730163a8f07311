"""Documents of TaskSets for property tests: valid ones in the wire form, everything optional present now and then."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_name = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
_role_name = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)
_variable = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("OCTOPUS_"))
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_loose = _text | st.integers() | st.booleans() | st.floats(allow_nan=False)
_label = st.from_regex(r"([a-z]{1,5}\.[a-z]{2}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9])?", fullmatch=True)
_label_value = st.from_regex(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
_seconds = st.floats(0.001, 1e6) | st.integers(1, 10**6)
_path = st.from_regex(r"[a-z*]{1,5}(/[a-z.]{0,3}[a-z]){0,2}", fullmatch=True)
_digest = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
_free = st.dictionaries(
    _text,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | _text,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _with(required: dict[str, st.SearchStrategy[Any]], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=fields)


@st.composite
def _replicas_and_completion(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 100))
    replicas = draw(st.just(count) | st.integers(count, 150).map(lambda most: {"min": count, "max": most}))
    least = draw(st.integers(0, count))
    completion = draw(_some(minSucceeded=st.just(least), maxFailed=st.integers(0, count - least)))
    return {"replicas": replicas, "completion": completion} if count > 1 or draw(st.booleans()) else {}


@st.composite
def _role(draw: st.DrawFn, name: str) -> dict[str, Any]:
    role: dict[str, Any] = draw(
        _with(
            {"command": st.lists(_text.filter(bool), min_size=1, max_size=3)},
            image=_name,
            args=st.lists(_loose, max_size=3),
            env=st.dictionaries(_variable.map(lambda name: f"E{name}"), _loose, max_size=3),
            secrets=st.dictionaries(_variable.map(lambda name: f"S{name}"), _name, max_size=2),
            workingDir=_path | st.just("/workspace"),
            resources=_some(
                cpu=st.sampled_from(["1", "0.5", "250m", 2, 1.5, "1e-1"]),
                memory=st.sampled_from(["1Gi", "1.5Gi", "100M", 2**28, "1e9"]),
                devices=st.dictionaries(st.sampled_from(["gpu", "npu"]), st.integers(0, 8), max_size=2),
                shm=st.sampled_from(["0", "64Mi", 1024]),
            ),
            volumes=st.lists(
                _with({"kind": st.just("scratch"), "name": _name}, readOnly=st.booleans()),
                max_size=2,
                unique_by=lambda volume: volume["name"],
            ).map(lambda found: [{**volume, "mountPath": f"/{volume['name']}"} for volume in found]),
            ports=st.lists(
                _with({"name": st.from_regex(r"[a-z]{1,8}", fullmatch=True)}, port=st.none() | st.integers(1, 65535)),
                max_size=2,
                unique_by=lambda port: port["name"],
            ),
            restart=_some(
                scope=st.sampled_from(["never", "task", "role", "gang"]),
                maxRestarts=st.integers(0, 1000),
                delaySeconds=st.integers(0, 100) | st.floats(0, 1e6),
            ),
            events=st.lists(
                st.fixed_dictionaries(
                    {
                        "on": st.sampled_from(["RoleFailed", "RoleSucceeded", "RoleCompleted"]),
                        "do": st.sampled_from(["FailTaskSet", "SucceedTaskSet", "Ignore"]),
                    }
                ),
                max_size=3,
                unique_by=lambda event: event["on"],
            ),
            placement=_some(
                nodeSelector=st.dictionaries(_label, _label_value, max_size=2),
                topology=st.none() | _with({"level": _label}, mode=st.sampled_from(["preferred", "required"])),
                sku=st.none() | _label_value,
            ),
            template=_free,
        )
    )
    return {"name": name, **role, **draw(_replicas_and_completion())}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Valid documents."""
    names = draw(st.lists(_role_name, min_size=1, max_size=3, unique=True))
    roles = [draw(_role(name)) for name in names]
    if draw(st.booleans()):
        roles[draw(st.integers(0, len(roles) - 1))]["main"] = True
    spec = draw(
        _some(
            queue=_name,
            priority=_name,
            hold=st.booleans(),
            after=st.lists(
                _with({"name": _name}, on=st.sampled_from(["Succeeded", "Failed", "Completed"])), max_size=2
            ),
            framework=_name,
            gang=_some(minAvailable=st.just("all"), timeoutSeconds=_seconds),
            lifetime=_some(
                mode=st.sampled_from(["detached", "server", "kernel"]),
                maxRuntimeSeconds=st.none() | _seconds,
                ttlSecondsAfterFinished=st.none() | st.integers(0, 10**6),
                idle=st.none() | _some(utilBelowPercent=st.floats(0, 100), action=st.sampled_from(["warn", "stop"])),
            ),
            preemption=_some(allowed=st.booleans(), noticeSeconds=st.integers(0, 100)),
            workspace=_some(snapshot=st.booleans(), digest=st.none() | _digest, git=st.none() | _free),
            inputs=st.lists(_with({"uri": st.just("https://example.org/x")}, digest=st.none() | _digest), max_size=2),
            outputs=st.lists(_path, max_size=2),
            run=st.none()
            | _with(
                {"notebook": st.just("a/b.ipynb")},
                parameters=_free.map(lambda found: {f"p{at}": each for at, each in enumerate(found.values())}),
            ),
            seed=st.none() | st.integers(0, 2**63 - 1),
        )
    )
    meta = draw(
        _with(
            {"name": _name},
            labels=st.dictionaries(_label, _label_value, max_size=3),
            annotations=st.dictionaries(_label, _text, max_size=2),
            exactName=st.booleans(),
        )
    )
    header = {"apiVersion": "octopus-hub.io/v1alpha1", "kind": "TaskSet"} if draw(st.booleans()) else {}
    return {**header, "metadata": meta, "spec": {"roles": roles, **spec}}


def shuffled(value: Any, draw: st.DataObject) -> Any:
    """The same data with its keys in another order."""
    if isinstance(value, dict):
        keys = draw.draw(st.permutations(list(value)))
        return {key: shuffled(value[key], draw) for key in keys}
    return [shuffled(each, draw) for each in value] if isinstance(value, list) else value
