"""The device task beside the map tasks: finds the digits' ten clusters (k-means); prints the devices it was given."""

import os

import numpy as np
from sklearn.datasets import load_digits

from octopus_hub import log

devices = os.environ["OCTOPUS_VIRTUAL_DEVICES"].split(",")
data = load_digits()
x, y = data.data, data.target
rng = np.random.default_rng(int(os.environ.get("OCTOPUS_SEED", "0")))
centres = x[rng.choice(len(x), 10, replace=False)]
for _ in range(100):
    nearest = ((x[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    moved = np.array([x[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(10)])
    if np.allclose(moved, centres):
        break
    centres = moved
pure = sum(np.bincount(y[nearest == k]).max() for k in range(10) if (nearest == k).any()) / len(y)
print(f"{len(devices)} devices {devices}: {pure:.3f} of the digits lie in a cluster of their kind")
log(purity=pure, devices=len(devices))
