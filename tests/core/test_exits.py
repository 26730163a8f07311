"""The exit table: every code, signal and end reason has a class, a cause and, where it helps, advice."""

from __future__ import annotations

import typing

import pytest
from lifecycle_builders import FAILED, RUNNING, SUCCEEDED, UNKNOWN, task

from octopus_hub.core.exits import classify, failure_class, format_bytes, may_retry, signal_name
from octopus_hub.model.task import EndReason, Task, Usage

GIB = 2**30


def failed(**fields: typing.Any) -> Task:
    return task("worker", 0, FAILED, **fields)


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"exit_code": 0}, "unknown", "exit code 0"),
        ({"exit_code": 1}, "unknown", "exit code 1"),
        ({"exit_code": 2}, "permanent", "arguments"),
        ({"exit_code": 42}, "unknown", "exit code 42"),
        ({"exit_code": 126}, "permanent", "can't be executed"),
        ({"exit_code": 127}, "permanent", "not found"),
        ({"exit_code": 129}, "unknown", "SIGHUP"),
        ({"exit_code": 130}, "unknown", "SIGINT"),
        ({"exit_code": 134}, "permanent", "SIGABRT"),
        ({"exit_code": 137}, "unknown", "SIGKILL"),
        ({"exit_code": 139}, "permanent", "SIGSEGV"),
        ({"exit_code": 143}, "unknown", "SIGTERM"),
        ({"exit_code": -9}, "unknown", "SIGKILL"),
        ({"exit_code": 255}, "unknown", "exit code 255"),
        ({"signal": 4}, "permanent", "SIGILL"),
        ({"signal": 6}, "permanent", "SIGABRT"),
        ({"signal": 7}, "permanent", "SIGBUS"),
        ({"signal": 8}, "permanent", "SIGFPE"),
        ({"signal": 9}, "unknown", "SIGKILL"),
        ({"signal": 11}, "permanent", "SIGSEGV"),
        ({"signal": 13}, "unknown", "SIGPIPE"),
        ({"signal": 15}, "unknown", "SIGTERM"),
        ({"signal": 24}, "permanent", "SIGXCPU"),
        ({"signal": 25}, "permanent", "SIGXFSZ"),
        ({"signal": 31}, "permanent", "SIGSYS"),
        ({"signal": 40}, "unknown", "signal 40"),
        ({"signal": 11, "exit_code": 1}, "permanent", "SIGSEGV"),
        ({}, "unknown", "not known"),
        ({"end_reason": "OOMKilled"}, "permanent", "killed for memory"),
        ({"end_reason": "CommandNotFound"}, "permanent", "not found"),
        ({"end_reason": "NotExecutable"}, "permanent", "can't be executed"),
        ({"end_reason": "ImageMissing"}, "permanent", "does not exist"),
        ({"end_reason": "StartFailed"}, "transient", "prepared"),
        ({"end_reason": "NodeLost"}, "transient", "node"),
        ({"end_reason": "Evicted"}, "transient", "evicted"),
        ({"end_reason": "Preempted"}, "transient", "preempted"),
        ({"end_reason": "Stopped"}, "transient", "stopped"),
        ({"end_reason": "Vanished"}, "transient", "vanished"),
        ({"end_reason": "DiskFull"}, "unknown", "disk"),
    ],
)
def test_table(fields: dict[str, typing.Any], kind: str, words: str) -> None:
    exit_ = classify(failed(**fields))
    assert exit_.failure_class == kind == failure_class(failed(**fields))
    assert words in exit_.cause
    assert may_retry(failed(**fields)) is exit_.retry
    assert exit_.advice or fields.get("end_reason") == "Stopped"
    assert not exit_.cause.endswith(".")


def test_every_signal_and_code_has_an_answer_and_says_its_name() -> None:
    for number in range(1, 65):
        assert signal_name(number) in classify(failed(signal=number)).cause
        assert classify(failed(exit_code=128 + number)) == classify(failed(signal=number))
    for code in range(256):
        assert classify(failed(exit_code=code)).cause


def test_every_end_reason_of_the_model_is_in_the_table() -> None:
    for reason in typing.get_args(EndReason):
        if reason:
            assert "not known" not in classify(failed(end_reason=reason)).cause, reason


def test_memory_says_its_numbers() -> None:
    exit_ = classify(
        failed(end_reason="OOMKilled", signal=9, memory_limit_bytes=8 * GIB, usage=Usage(peak_memory_bytes=8 * GIB))
    )
    assert exit_.cause == "killed for memory: used 8.0 GiB of 8.0 GiB"
    assert exit_.advice == "ask for more memory or lower the batch size"
    assert classify(failed(end_reason="OOMKilled", memory_limit_bytes=GIB)).cause.endswith("limit is 1.0 GiB")


def test_the_backends_words_are_added() -> None:
    cause = classify(failed(end_reason="CommandNotFound", message="'trian.py' is not in PATH.")).cause
    assert cause == "the command was not found: 'trian.py' is not in PATH"
    assert len(classify(failed(end_reason="StartFailed", message="x" * 10_000)).cause) < 600


def test_what_can_not_start_is_never_tried_again() -> None:
    for fields in (
        {"end_reason": "CommandNotFound"},
        {"end_reason": "NotExecutable"},
        {"end_reason": "ImageMissing"},
        {"exit_code": 126},
        {"exit_code": 127},
    ):
        assert not may_retry(failed(**fields))


def test_tasks_that_did_not_fail_have_no_class() -> None:
    assert classify(task("worker", 0, SUCCEEDED)).failure_class == ""
    assert classify(task("worker", 0, RUNNING)).failure_class == ""
    assert "can't be reached" in classify(task("worker", 0, UNKNOWN)).cause


@pytest.mark.parametrize(
    ("size", "words"),
    [(-5, "0 B"), (17, "17 B"), (1536, "1.5 KiB"), (512 * 2**20, "512.0 MiB"), (8 * GIB, "8.0 GiB")],
)
def test_sizes(size: int, words: str) -> None:
    assert format_bytes(size) == words
