"""What the benchmarks share: several ways of doing the same thing, timed in turn."""
import time
from tqdm import tqdm

def turns(ways, rounds, clock=time.perf_counter, desc='rounds'):
    "Call each of `ways`, {name: function}, once a round, after two rounds to warm up: {name: [seconds]}"
    times = {k: [] for k in ways}
    for i in tqdm(range(rounds + 2), desc=desc, leave=False, disable=None):
        for k in list(ways)[::1 if i % 2 else -1]:
            start = clock()
            res = ways[k]()
            took = clock() - start
            del res   # letting go of the result is not part of the work
            if i >= 2: times[k].append(took)
    return times
