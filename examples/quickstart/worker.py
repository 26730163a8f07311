"""Worker: takes the weights, computes a gradient on a batch of its own third of the digits, sends it."""

import os

import model
import numpy as np

from octopus_hub import log

GRADIENT, DONE = 1, 2
index, workers = int(os.environ["OCTOPUS_INDEX"]), int(os.environ["WORKERS"])
epochs, batch = int(os.environ.get("EPOCHS", "30")), 32

x, y, _, _ = model.digits()
x, y = x[index::workers], y[index::workers]
rng = np.random.default_rng(1000 * int(os.environ.get("OCTOPUS_SEED", "0")) + index)
with model.connect_to_server() as server:
    model.send(server, GRADIENT)
    for epoch in range(epochs):
        losses = []
        order = rng.permutation(len(y))
        for start in range(0, len(y), batch):
            chosen = order[start : start + batch]
            _, weights = model.receive(server)
            loss, gradient = model.gradient(weights, x[chosen], y[chosen])
            losses.append(loss)
            model.send(server, GRADIENT, gradient)
        print(f"worker {index} epoch {epoch + 1}/{epochs} loss {np.mean(losses):.4f}", flush=True)
        log(step=epoch, loss=float(np.mean(losses)))
    model.receive(server)
    model.send(server, DONE)
    model.receive(server)
