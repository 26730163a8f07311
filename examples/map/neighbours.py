"""A map task: reads its sixth of the handwritten digits by the nearest of all others (leave one out). Needs CPU only."""

import json
import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from octopus_hub import log

index, parts = int(os.environ["OCTOPUS_INDEX"]), int(os.environ["OCTOPUS_REPLICAS"])
data = load_digits()
x, y = data.data, data.target
mine = np.arange(len(x))[index::parts]
squares = (x**2).sum(axis=1)
distances = squares[mine][:, None] - 2 * x[mine] @ x.T + squares[None, :]
distances[np.arange(len(mine)), mine] = np.inf  # not the digit itself
wrong = mine[y[distances.argmin(axis=1)] != y[mine]]
print(f"map {index}/{parts}: {len(mine)} digits read, {len(wrong)} wrong: {wrong.tolist()}")
log(digits=len(mine), wrong=len(wrong))
(Path(os.environ["OCTOPUS_OUTPUTS"]) / "wrong.json").write_text(json.dumps(wrong.tolist()))
