"""Least squares on polynomial features of the handwritten digits; task i uses degree i + 1, and degree 3 is too much."""

import itertools
import os

import numpy as np
from sklearn.datasets import load_digits

from octopus_hub import log

HELD_OUT, BLOCK = 360, 20
degree = int(os.environ["OCTOPUS_INDEX"]) + 1

data = load_digits()
order = np.random.default_rng(0).permutation(len(data.target))
x, y = data.data[order] / 16.0, data.target[order]
columns = np.flatnonzero(x.std(axis=0) > 0)  # pixels that change at all
chosen = list(itertools.combinations_with_replacement(columns, degree))
print(
    f"degree {degree}: {len(chosen)} features of {len(columns)} pixels, {len(chosen) * len(x) * 8 >> 20} MiB",
    flush=True,
)

factors = np.array(chosen).T  # row k: the k-th pixel of each product
features = np.empty((len(x), len(chosen)))
for start in range(0, len(x), BLOCK):
    rows = slice(start, start + BLOCK)
    features[rows] = np.prod([x[rows][:, pixels] for pixels in factors], axis=0)
train, test = features[HELD_OUT:], features[:HELD_OUT]
kernel = train @ train.T + 0.1 * np.eye(len(train))
scores = test @ (train.T @ np.linalg.solve(kernel, np.eye(10)[y[HELD_OUT:]]))
accuracy = float((scores.argmax(axis=1) == y[:HELD_OUT]).mean())
print(f"degree {degree}: accuracy {accuracy:.4f}")
log(degree=degree, accuracy=accuracy)
