"""One trial of the sweep: a network with one hidden layer on the handwritten digits, with one setting of the parameters."""

import os

import numpy as np
from sklearn.datasets import load_digits

from octopus_hub import log

rate, hidden = float(os.environ["RATE"]), int(os.environ["HIDDEN"])
EPOCHS, BATCH, HELD_OUT = 15, 32, 360

data = load_digits()
order = np.random.default_rng(0).permutation(len(data.target))
x, y = data.data[order] / 16.0, data.target[order]
x, y, test_x, test_y = x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT]

rng = np.random.default_rng(int(os.environ.get("OCTOPUS_SEED", "0")))
first, second = rng.normal(0, 0.1, (64, hidden)), rng.normal(0, 0.1, (hidden, 10))


def forward(x):
    inner = np.maximum(x @ first, 0.0)
    scores = inner @ second
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return inner, raised / raised.sum(axis=1, keepdims=True)


for epoch in range(EPOCHS):
    order = rng.permutation(len(x))
    for start in range(0, len(x), BATCH):
        chosen = order[start : start + BATCH]
        inner, odds = forward(x[chosen])
        error = (odds - np.eye(10)[y[chosen]]) / len(chosen)
        back = (error @ second.T) * (inner > 0)
        second -= rate * inner.T @ error
        first -= rate * x[chosen].T @ back
    accuracy = float((forward(test_x)[1].argmax(axis=1) == test_y).mean())
    log(step=epoch, accuracy=accuracy, rate=rate, hidden=hidden)
print(f"rate {rate} hidden {hidden}: accuracy on {len(test_x)} held-out digits {accuracy:.4f}")
