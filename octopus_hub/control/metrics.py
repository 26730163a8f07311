"""What the controller counts, for Prometheus. One registry per engine; the service exposes it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from octopus_hub.core.plan import Fault

log = logging.getLogger(__name__)

_LATENCIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


class Metrics:
    """Counters of one controller."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.admissions = Counter("octopus_admissions", "Gangs admitted", ["queue"], registry=self.registry)
        self.preemptions = Counter(
            "octopus_preemptions", "Gangs that made room for others", ["queue", "rule"], registry=self.registry
        )
        self.estimate_error = Gauge(
            "octopus_estimate_error",
            "Median of |log(actual / estimated run time)| over the last runs",
            registry=self.registry,
        )
        self.policy_faults = Counter(
            "octopus_policy_faults",
            "Cycles in which a queue's policy raised or answered nonsense",
            ["queue", "policy"],
            registry=self.registry,
        )
        self.phases = Counter("octopus_phase_changes", "Phases entered", ["phase"], registry=self.registry)
        self.errors = Counter(
            "octopus_step_errors", "Steps that failed and are retried", ["code"], registry=self.registry
        )
        self.waiting = Gauge(
            "octopus_waiting_tasksets", "TaskSets waiting in a queue", ["queue"], registry=self.registry
        )
        self.schedule_seconds = Histogram(
            "octopus_schedule_seconds", "Time of one scheduling cycle", buckets=_LATENCIES, registry=self.registry
        )
        self.wait_seconds = Histogram(
            "octopus_queue_wait_seconds",
            "Time from queueing to admission",
            buckets=(0.1, 1, 10, 60, 600, 3600, 86400),
            registry=self.registry,
        )

    def count_faults(self, faults: Iterable[Fault]) -> None:
        """Count what policies did wrong in a cycle; the queues' boards say it as long as it lasts."""
        for fault in faults:
            self.policy_faults.labels(fault.queue, fault.policy).inc()
            log.warning("policy %s of queue %s: %s", fault.policy, fault.queue, fault.message)
