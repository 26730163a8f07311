"""Submits 12 trials to one queue, waits for all, prints their accuracies as a table. Run it beside trial.py."""

from pathlib import Path

from octopus_hub import Role, TaskSet, submit

RATES, WIDTHS = (0.01, 0.05, 0.2, 0.8), (8, 32, 128)
HERE = Path(__file__).parent


def trial(rate, hidden):
    return TaskSet(
        f"sweep-{rate}-{hidden}".replace(".", "p"),
        queue="default",
        labels={"sweep": "digits"},
        seed=1,
        roles=[
            Role(
                "trial",
                command=["python", "trial.py"],
                env={"RATE": str(rate), "HIDDEN": str(hidden)},
                cpu="1",
                memory="512Mi",
                devices={"virtual": 1},
            )
        ],
    )


jobs = {(rate, hidden): submit(trial(rate, hidden), workspace=HERE) for rate in RATES for hidden in WIDTHS}
for job in jobs.values():
    job.wait()
print("rate    " + "".join(f"{f'hidden {hidden}':>12}" for hidden in WIDTHS))
for rate in RATES:
    print(f"{rate:<8}" + "".join(f"{jobs[rate, hidden].metrics['accuracy']:12.4f}" for hidden in WIDTHS))
(rate, hidden), best = max(jobs.items(), key=lambda item: item[1].metrics["accuracy"])
print(f"best: rate {rate}, hidden {hidden}, accuracy {best.metrics['accuracy']:.4f} ({best.name})")
