"""Submit, list, look, stop, hold, release, delete."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from octopus_hub.backends.memory import MemoryBackend, node
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Board, Phase, QueuePlace
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import Running, document, running


async def submit(service: Running, token: str = "alice-token", name: str = "mnist", **spec: object) -> TaskSet:
    answer = await service.client(token).post("tasksets", json=document(name, **spec))
    assert answer.status_code == 201, answer.text
    return msgspec.json.decode(answer.content, type=TaskSet)


async def test_a_submission_is_stored_with_what_only_the_service_may_say(service: Running) -> None:
    sent = document()
    sent["metadata"] |= {"namespace": "bob", "owner": "bob", "uid": "mine", "labels": {"team": "vision"}}
    answer = await service.client("alice-token").post("tasksets", json=sent)
    if answer.status_code == 422:  # a model that refuses such fields is as good
        sent["metadata"] = {"name": "mnist", "labels": {"team": "vision"}}
        answer = await service.client("alice-token").post("tasksets", json=sent)
    assert answer.status_code == 201, answer.text
    assert answer.json()["apiVersion"] == "octopus-hub.io/v1alpha1" and answer.json()["kind"] == "TaskSet"
    stored = msgspec.json.decode(answer.content, type=TaskSet)
    assert (stored.metadata.namespace, stored.metadata.owner) == ("alice", "alice")
    assert stored.metadata.uid != "mine" and stored.metadata.labels == {"team": "vision"}
    assert stored.spec.queue == "default" and stored.spec.seed is not None
    assert stored.resolved.images["worker"].startswith("sha256:")
    assert stored.resolved.descriptors.framework and stored.resolved.descriptors.framework.name == "script"
    assert stored.resolved.spec_digest.startswith("sha256:")
    assert service.backend.truth.tasksets[stored.metadata.uid] == stored
    assert answer.headers["Location"].endswith("/tasksets/alice/mnist")


async def test_one_reads_what_one_wrote(service: Running) -> None:
    client = service.client("alice-token")
    stored = await submit(service)
    view = (await client.get(f"tasksets/-/{stored.name}")).json()
    assert view["taskset"]["metadata"]["uid"] == stored.metadata.uid
    listed = (await client.get("tasksets")).json()
    assert [item["taskset"]["metadata"]["name"] for item in listed["items"]] == ["mnist"]
    assert listed["revision"] == service.cache.revision


async def test_a_repeated_name_gets_a_suffix_and_an_exact_one_conflicts(service: Running) -> None:
    assert (await submit(service)).name == "mnist"
    assert (await submit(service)).name == "mnist-2"
    exact = document()
    exact["metadata"]["exactName"] = True
    answer = await service.client("alice-token").post("tasksets", json=exact)
    assert answer.status_code == 409 and answer.json()["code"] == "conflict"


async def test_dry_run_says_what_would_be_stored_and_stores_nothing(service: Running) -> None:
    answer = await service.client("alice-token").post("tasksets?dryRun=true", json=document())
    assert answer.status_code == 200
    assert answer.json()["resolved"]["images"]["worker"].startswith("sha256:")
    assert not service.backend.truth.tasksets


async def test_two_submitters_with_one_key_at_once_get_one_taskset(service: Running) -> None:
    clients = [service.client("alice-token", **{"Idempotency-Key": "key-1"}) for _ in range(8)]
    answers = await asyncio.gather(*(client.post("tasksets", json=document()) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["metadata"]["uid"] for answer in answers}) == 1
    assert len(service.backend.truth.tasksets) == 1


async def test_the_same_key_of_another_user_is_another_key(service: Running) -> None:
    first = await service.client("alice-token", **{"Idempotency-Key": "k"}).post("tasksets", json=document())
    second = await service.client("bob-token", **{"Idempotency-Key": "k"}).post("tasksets", json=document())
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["metadata"]["uid"] != second.json()["metadata"]["uid"]


async def test_a_key_that_can_not_be_kept_is_refused(service: Running) -> None:
    answer = await service.client("alice-token", **{"Idempotency-Key": "a b"}).post("tasksets", json=document())
    assert answer.status_code == 422 and not service.backend.truth.tasksets


async def test_everything_unknown_is_told_at_once(service: Running) -> None:
    sent = document(queue="defualt", priority="hgih", framework="pytorhc", workspace={"digest": "sha256:" + "0" * 64})
    sent["spec"]["roles"][0] |= {"image": "no-such", "secrets": {"TOKEN": "absent"}}
    answer = await service.client("alice-token").post("tasksets", json=sent)
    assert answer.status_code == 422
    problems = "\n".join(answer.json()["problems"])
    for path in (
        "spec.queue",
        "spec.priority",
        "spec.framework",
        "spec.roles[0].image",
        "spec.roles[0].secrets.TOKEN",
        "spec.workspace.digest",
    ):
        assert path in problems
    assert "did you mean default?" in problems and "did you mean high?" in problems


async def test_what_never_fits_is_refused_with_the_numbers(service: Running) -> None:
    role = {"name": "worker", "command": ["x"], "resources": {"devices": {"virtual": 5}}}
    answer = await service.client("alice-token").post("tasksets", json=document(roles=[role]))
    assert answer.status_code == 403
    told = answer.json()
    assert told["code"] == "refused" and told["reason"]["code"] == "NeverFits"
    assert "5" in told["detail"] and "4" in told["detail"]
    assert not service.backend.truth.tasksets


async def test_what_is_busy_now_is_accepted(service: Running) -> None:
    role = {"name": "worker", "command": ["x"], "replicas": 2, "resources": {"devices": {"virtual": 4}}}
    await submit(service, roles=[role])
    assert (await submit(service, roles=[role])).status.phase is Phase.QUEUED


@pytest.mark.parametrize("replicas", [10_001, -1, 0, 1.5])
async def test_replicas_out_of_bounds_are_invalid(service: Running, replicas: float) -> None:
    role = {"name": "worker", "command": ["x"], "replicas": replicas}
    answer = await service.client("alice-token").post("tasksets", json=document(roles=[role]))
    assert answer.status_code == 422 and "spec.roles[0].replicas" in answer.text


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "UPPER", "-a", "a" * 64, "ä", "a\u0000b", ""])
async def test_names_that_are_no_labels_are_invalid(service: Running, name: str) -> None:
    answer = await service.client("alice-token").post("tasksets", json=document(name))
    assert answer.status_code == 422 and "metadata.name" in answer.text


async def test_a_closed_queue_is_for_its_groups_and_users() -> None:
    queues = (
        Queue(name="default"),
        Queue(name="lab", allowed_groups=["lab"]),
        Queue(name="bobs", allowed_users=["bob"]),
    )
    async with running(backend=MemoryBackend(queues=queues)) as service:
        await submit(service, "alice-token", queue="lab")
        await submit(service, "bob-token", queue="bobs")
        await submit(service, "root-token", queue="lab")
        assert '"bob"' not in (await service.client("alice-token").get("queues")).text
        assert '"allowedUsers":["bob"]' in (await service.client("bob-token").get("queues")).text
        for token, queue in (("bob-token", "lab"), ("alice-token", "bobs")):
            answer = await service.client(token).post("tasksets", json=document(queue=queue))
            assert answer.status_code == 403 and answer.json()["rule"] == "queueAccess"


async def test_a_user_has_a_bounded_number_of_open_tasksets() -> None:
    async with running(ServiceSettings(open_tasksets=2)) as service:
        clients = [service.client("alice-token") for _ in range(5)]
        answers = await asyncio.gather(*(client.post("tasksets", json=document()) for client in clients))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 403, 403, 403]
        refused = next(answer.json() for answer in answers if answer.status_code == 403)
        assert (refused["rule"], refused["limit"]) == ("openTaskSets", 2)
        await submit(service, "bob-token")


async def test_list_filters_by_phase_and_label(service: Running) -> None:
    client = service.client("alice-token")
    sent = document("held", hold=True)
    sent["metadata"]["labels"] = {"team": "vision", "kind": "a.b"}
    await client.post("tasksets", json=sent)
    await submit(service, name="plain")

    async def names(query: str) -> list[str]:
        answer = await client.get(f"tasksets?{query}")
        assert answer.status_code == 200, answer.text
        return [item["taskset"]["metadata"]["name"] for item in answer.json()["items"]]

    assert await names("label=team%3Dvision") == ["held"]
    assert await names("label=team%3Dvision&label=team%3Dother") == []
    assert await names("phase=queued,Held") == ["held", "plain"]
    assert await names("phase=Running") == []
    assert (await client.get("tasksets?phase=Sleeping")).status_code == 422
    assert (await client.get("tasksets?label=team")).status_code == 422


async def test_wishes_may_be_repeated(service: Running) -> None:
    client = service.client("alice-token")
    stored = await submit(service)
    for verb in ("hold", "hold", "release", "release", "stop", "stop"):
        answer = await client.post(f"tasksets/-/mnist/{verb}")
        assert answer.status_code == 200, answer.text
    held = service.backend.truth.tasksets[stored.metadata.uid]
    assert held.metadata.stop_requested_at is not None and not held.spec.hold
    assert held.metadata.version == stored.metadata.version + 3
    assert answer.json()["metadata"]["version"] == held.metadata.version


async def test_what_runs_can_not_be_held(service: Running) -> None:
    stored = await submit(service)
    await service.start_tasks(stored.metadata.uid)
    answer = await service.client("alice-token").post("tasksets/-/mnist/hold")
    assert answer.status_code == 409 and "Running" in answer.json()["detail"]


async def test_what_has_ended_can_not_be_released(service: Running) -> None:
    stored = await submit(service)
    ended = msgspec.structs.replace(stored.status, phase=Phase.SUCCEEDED)
    uid, version = stored.metadata.uid, stored.metadata.version
    await service.backend.update_status(uid, ended, version=version, epoch=service.backend.epoch)
    answer = await service.client("alice-token").post("tasksets/-/mnist/release")
    assert answer.status_code == 409 and "is Succeeded; only a TaskSet that waits" in answer.json()["detail"]


async def test_delete_asks_for_the_end_first(service: Running) -> None:
    client = service.client("alice-token")
    stored = await submit(service)
    await service.start_tasks(stored.metadata.uid)
    for _ in range(2):
        answer = await client.delete("tasksets/-/mnist")
        assert answer.status_code == 200
    assert service.backend.truth.tasksets[stored.metadata.uid].metadata.deletion_requested_at is not None
    for task in service.cache.tasks_of(stored.metadata.uid):
        from octopus_hub.model.task import TaskState

        service.backend.set_task(task.namespace, task.name, state=TaskState.FAILED)
    await service.backend.delete(stored.metadata.uid)
    await service.until(lambda: not service.cache.tasksets)
    assert (await client.delete("tasksets/-/mnist")).status_code == 404


async def test_tasks_come_with_the_taskset_and_alone(service: Running) -> None:
    client = service.client("alice-token")
    stored = await submit(service)
    await service.start_tasks(stored.metadata.uid)
    tasks = (await client.get("tasksets/-/mnist/tasks")).json()["items"]
    assert [(task["role"], task["index"]) for task in tasks] == [("worker", 0), ("worker", 1)]
    assert {task["name"] for task in (await client.get("tasksets/-/mnist")).json()["tasks"]} == {
        t["name"] for t in tasks
    }


async def test_why_it_waits_comes_with_it_without_others_names(service: Running) -> None:
    stored = await submit(service)
    secret = await submit(service, "bob-token", name="merger-model")
    words = "behind bob/merger-model in queue default, which waits first: needs 3/4 of kubernetes.io/hostname"
    place = QueuePlace(uid=stored.metadata.uid, place=2, code="BehindInQueue", message=words, where="bob/merger-model")
    first = QueuePlace(uid=secret.metadata.uid, place=1, code="NoFit", message="no room")
    await service.backend.put_board(Board(queue="default", places=[first, place]))
    await service.until(lambda: service.cache.place_of(stored.metadata.uid))
    told = (await service.client("alice-token").get("tasksets/-/mnist")).json()["queuePlace"]
    assert told["place"] == 2 and "merger-model" not in str(told)
    assert "another user's TaskSet" in told["message"] and "3/4 of kubernetes.io/hostname" in told["message"]
    board = (await service.client("alice-token").get("queues")).json()["items"][0]["board"]
    assert board["waiting"] == 2 and len(board["places"]) == 1 and "merger-model" not in str(board)
    seen = (await service.client("root-token").get("tasksets/alice/mnist")).json()["queuePlace"]
    assert "merger-model" in seen["message"]


async def test_an_administrator_sees_everyone(service: Running) -> None:
    await submit(service, "alice-token", name="one")
    await submit(service, "bob-token", name="two")
    items = (await service.client("root-token").get("tasksets?namespace=*")).json()["items"]
    assert {item["taskset"]["metadata"]["namespace"] for item in items} == {"alice", "bob"}
    assert (await service.client("root-token").post("tasksets/bob/two/stop")).status_code == 200


async def test_a_plan_changes_nothing_and_says_what_is_short(service: Running) -> None:
    client = service.client("alice-token")
    answer = (await client.post("plan", json=document())).json()
    assert answer["fitsEmpty"] and answer["runsNow"] and answer["placement"]["worker"]
    big = {"name": "worker", "command": ["x"], "replicas": 2, "resources": {"devices": {"virtual": 4}}}
    blocker = await submit(service, roles=[big])
    behind = (await client.post("plan", json=document(roles=[big]))).json()
    assert behind["fitsEmpty"] and not behind["runsNow"] and behind["reason"]["message"]
    never = (await client.post("plan", json=document(roles=[{**big, "replicas": 3}]))).json()
    assert not never["fitsEmpty"] and never["reason"]["code"] == "NeverFits"
    assert list(service.backend.truth.tasksets) == [blocker.metadata.uid]


async def test_why_it_waits_as_facts_and_as_numbers_without_others_names() -> None:
    async with running(engine=True) as service:
        big = {"name": "worker", "command": ["x"], "replicas": 2, "resources": {"devices": {"virtual": 4}}}
        await submit(service, "bob-token", name="first", roles=[big])
        await submit(service, "bob-token", name="second", roles=[big])
        await submit(service, "alice-token", name="mine", roles=[big])
        await service.until(lambda: sum(1 for each in service.cache.tasksets.values() if each.status.placement) == 1)
        client = service.client("alice-token")
        answer = (await client.get("tasksets/-/mine/why")).json()
        assert (answer["name"], answer["phase"], answer["outcome"]) == ("mine", "Queued", "waits")
        assert answer["facts"][0]["kind"] == "state" and answer["reason"]["message"]
        assert "bob/" not in json.dumps(answer), "names of others are theirs"
        assert (await client.get("tasksets/bob/second/why")).status_code == 404
        seen = (await service.client("root-token").get("tasksets/alice/mine/why")).json()
        assert seen["place"] == answer["place"]
        runs = next(each for each in service.cache.tasksets.values() if each.status.placement)
        facts = (await service.client("root-token").get(f"tasksets/bob/{runs.name}/why")).json()["facts"]
        assert {"state", "admitted", "placed", "preempt"} <= {fact["kind"] for fact in facts}


async def test_nodes_and_priorities_and_images() -> None:
    backend = MemoryBackend(nodes=[node("big", virtual=2)])
    backend.add_image("torch")
    async with running(ServiceSettings(image_names=("torch", "gone")), backend=backend) as service:
        client = service.client("alice-token")
        nodes = (await client.get("nodes")).json()
        assert [each["name"] for each in nodes["items"]] == ["big"]
        names = [each["name"] for each in (await client.get("priorities")).json()["items"]]
        assert names == ["high", "normal", "low"]
        images = (await client.get("images")).json()["items"]
        assert [(each["name"], each["default"]) for each in images] == [("default", True), ("torch", False)]
