"""How often Python looks for cycles among all that a process keeps: by the clock, instead of whenever much was made.

An engine keeps very many rows, which are trees and never garbage as long as they are known. To walk all of them takes
0.2 s with 3,000 TaskSets and their records, nothing starts or ends meanwhile, and by itself Python does it most often
when most is to be done. What is young is looked at as ever. Called by whoever runs an engine; holds for the process.
"""

from __future__ import annotations

import asyncio
import gc
import time

LEAST_SECONDS = 300.0
SHARE = 1000  # a look that takes long comes less often: at most one of so many parts of the time
YOUNG = (5_000, 20)  # what is made before the young and the middle-aged are looked at
NEVER = 1_000_000

_BEFORE = gc.get_threshold()


async def look_seldom() -> None:
    """Look through everything once in a while, until cancelled."""
    gc.set_threshold(*YOUNG, NEVER)
    took = 0.0
    try:
        while True:
            await asyncio.sleep(max(LEAST_SECONDS, SHARE * took))
            began = time.perf_counter()
            gc.collect()
            took = time.perf_counter() - began
    finally:
        gc.set_threshold(*_BEFORE)
