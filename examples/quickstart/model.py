"""The network and the wire shared by the parameter server and the workers: 64 -> 64 -> 10 on handwritten digits."""

import json
import os
import socket
import struct
import time

import numpy as np
from sklearn.datasets import load_digits

SHAPES = {"w1": (64, 64), "b1": (64,), "w2": (64, 10), "b2": (10,)}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())


def digits(held_out=360):
    """Return (train x, train y, test x, test y): 1,437 and 360 of scikit-learn's 1,797 digits, the same for everyone."""
    data = load_digits()
    order = np.random.default_rng(int(os.environ.get("OCTOPUS_SEED", "0"))).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    return x[held_out:], y[held_out:], x[:held_out], y[:held_out]


def initial(seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 0.1, int(np.prod(shape))) for shape in SHAPES.values()])


def split(flat):
    parts, at = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        parts[name] = flat[at : at + size].reshape(shape)
        at += size
    return parts


def forward(p, x):
    hidden = np.maximum(x @ p["w1"] + p["b1"], 0.0)
    scores = hidden @ p["w2"] + p["b2"]
    scores -= scores.max(axis=1, keepdims=True)
    odds = np.exp(scores)
    return hidden, odds / odds.sum(axis=1, keepdims=True)


def gradient(flat, x, y):
    """Return (mean cross-entropy, its gradient as one flat vector)."""
    p = split(flat)
    hidden, odds = forward(p, x)
    loss = -np.log(odds[np.arange(len(y)), y] + 1e-12).mean()
    error = odds
    error[np.arange(len(y)), y] -= 1.0
    error /= len(y)
    back = (error @ p["w2"].T) * (hidden > 0)
    parts = [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
    return loss, np.concatenate([part.ravel() for part in parts])


def accuracy(flat, x, y):
    return float((forward(split(flat), x)[1].argmax(axis=1) == y).mean())


def send(connection, kind, vector=None):
    body = b"" if vector is None else vector.astype("<f8").tobytes()
    connection.sendall(struct.pack("!BI", kind, len(body)) + body)


def receive(connection):
    kind, length = struct.unpack("!BI", _exactly(connection, 5))
    return kind, np.frombuffer(_exactly(connection, length), "<f8") if length else None


def _exactly(connection, size):
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("the other side closed the connection")
        parts += part
    return parts


def connect_to_server():
    """Connect to the parameter server; the gang start guarantees that it runs, not that it listens already."""
    with open(os.environ["OCTOPUS_PEERS"]) as file:
        server = json.load(file)["ps"][0]
    for attempt in range(100):
        try:
            return socket.create_connection((server["host"], server["ports"]["main"]), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.05 * (1 + attempt / 10))
    raise SystemExit("the parameter server does not listen")
