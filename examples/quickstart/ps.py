"""Parameter server: keeps the weights, applies every worker's gradient as it comes (asynchronous SGD)."""

import os
import socket
import threading

import model
import numpy as np

from octopus_hub import log

GRADIENT, DONE = 1, 2
RATE, MOMENTUM = 0.15, 0.5
weights = model.initial(seed=int(os.environ.get("OCTOPUS_SEED", "0")))
velocity = np.zeros_like(weights)
lock = threading.Lock()
workers = int(os.environ["WORKERS"])
all_done = threading.Barrier(workers + 1)
steps = 0


def serve(connection):
    """Answer one worker: weights for a gradient, until it is done."""
    global steps
    with connection:
        while True:
            kind, vector = model.receive(connection)
            with lock:
                if vector is not None:
                    velocity[:] = MOMENTUM * velocity - RATE * vector
                    weights[:] += velocity
                    steps += 1
                current = weights.copy()
            if kind == DONE:
                all_done.wait()  # everyone is done
                all_done.wait()  # ... and the result stands
                model.send(connection, DONE)
                return
            model.send(connection, GRADIENT, current)


with socket.create_server(("127.0.0.1", int(os.environ["OCTOPUS_PORT"]))) as listener:
    threads = []
    for _ in range(workers):
        connection, _ = listener.accept()
        threads.append(threading.Thread(target=serve, args=(connection,)))
        threads[-1].start()
    all_done.wait()
    _, _, x, y = model.digits()
    result = model.accuracy(weights, x, y)
    print(f"{steps} asynchronous steps by {workers} workers; accuracy on {len(y)} held-out digits: {result:.4f}")
    log(accuracy=result, steps=steps)
    np.savez("model.npz", **model.split(weights))
    all_done.wait()
    for thread in threads:
        thread.join()
