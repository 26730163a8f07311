"""Ring all-reduce over sockets, wired by the variables that PyTorch programs use; numpy only."""

import os
import pickle
import socket
import struct
import threading
import time

import numpy as np


class Ring:
    """All ranks in a circle: each sends to the next and receives from the one before."""

    def __init__(self):
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        listener = socket.create_server(("", 0))
        addresses = self._meet(listener.getsockname()[1])
        self.right = connect(addresses[(self.rank + 1) % self.size])
        self.left, _ = listener.accept()
        listener.close()

    def _meet(self, port):
        """Rank 0 listens at MASTER_ADDR:MASTER_PORT, collects everyone's address and tells them all."""
        master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        if self.rank:
            with connect(master) as to_master:
                send(to_master, pickle.dumps((self.rank, port)))
                return pickle.loads(receive(to_master))
        addresses, others = {0: (master[0], port)}, []
        with socket.create_server(master) as door:
            while len(addresses) < self.size:
                connection, (host, _) = door.accept()
                rank, its_port = pickle.loads(receive(connection))
                addresses[rank] = (host, its_port)
                others.append(connection)
        for connection in others:
            with connection:
                send(connection, pickle.dumps(addresses))
        return addresses

    def all_reduce(self, vector):
        """Return the sum of every rank's vector: 2(n-1) steps, each moving one n-th of it (reduce-scatter, all-gather)."""
        parts = np.array_split(vector.astype(float), self.size)
        for step in range(self.size - 1):
            mine, theirs = (self.rank - step) % self.size, (self.rank - step - 1) % self.size
            parts[theirs] = parts[theirs] + self._exchange(parts[mine])
        for step in range(self.size - 1):
            mine, theirs = (self.rank - step + 1) % self.size, (self.rank - step) % self.size
            parts[theirs] = self._exchange(parts[mine])
        return np.concatenate(parts)

    def _exchange(self, part):
        """Send to the right while receiving from the left; one after the other would lock up once buffers are full."""
        sender = threading.Thread(target=send, args=(self.right, part.tobytes()))
        sender.start()
        received = np.frombuffer(receive(self.left), float)
        sender.join()
        return received

    def close(self):
        self.right.close()
        self.left.close()


def connect(address):
    """The gang start guarantees that the other side runs, not that it listens already."""
    for _ in range(200):
        try:
            return socket.create_connection(address, timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit(f"nobody listens at {address}")


def send(connection, body):
    connection.sendall(struct.pack("!I", len(body)) + body)


def receive(connection):
    (length,) = struct.unpack("!I", _exactly(connection, 4))
    return _exactly(connection, length)


def _exactly(connection, size):
    body = b""
    while len(body) < size:
        piece = connection.recv(size - len(body))
        if not piece:
            raise ConnectionError("the other side closed the connection")
        body += piece
    return body
