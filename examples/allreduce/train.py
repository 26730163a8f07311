"""Data-parallel training of a linear digit reader: each rank has its share of the digits, gradients are summed in a ring."""

import os

import numpy as np
from ring import Ring
from sklearn.datasets import load_digits

from octopus_hub import log

STEPS, RATE, HELD_OUT = 120, 1.5, 360

data = load_digits()
order = np.random.default_rng(int(os.environ.get("OCTOPUS_SEED", "0"))).permutation(len(data.target))
x, y = data.data[order] / 16.0, np.eye(10)[data.target[order]]
x, y, test_x, test_y = x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT]


def odds(weights, x):
    scores = x @ weights
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def gradient(weights, x, y):
    """Return the sum (not the mean) over the digits, flat: sums of shares add up to the whole."""
    return (x.T @ (odds(weights, x) - y)).ravel()


ring = Ring()
share = slice(ring.rank, None, ring.size)
weights = np.zeros((64, 10))
worst = 0.0
for step in range(STEPS):
    summed = ring.all_reduce(gradient(weights, x[share], y[share]))
    if step % 20 == 0:  # every rank has all digits here, so it can compute what the ring should have given
        worst = max(worst, float(np.abs(summed - gradient(weights, x, y)).max()))
        print(f"rank {ring.rank} step {step}: largest difference to the direct sum {worst:.1e}", flush=True)
    weights -= RATE * summed.reshape(weights.shape) / len(x)
ring.close()

accuracy = float((odds(weights, test_x).argmax(axis=1) == test_y.argmax(axis=1)).mean())
print(f"rank {ring.rank} of {ring.size}: accuracy on {len(test_x)} held-out digits {accuracy:.4f}")
log(step=STEPS, accuracy=accuracy, difference=worst)
assert worst < 1e-9, "the ring did not give the sum"
