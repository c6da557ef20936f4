"""What the hand-written layers reach on the 10,000 test images, over several seeds.

    python bench/accuracy.py [--seeds 5] [--recipe small] [--recipe large] [--engine hand]

small is 784-50-10 in 10 epochs, large is 784-512-512-10 with dropout in 15. Both were chosen on the validation images; the test
images are read once for each seed, when its training is over. Printed are the accuracy of each seed, their mean and spread, and the
time a seed took: on the clock, and of the processors (which other programs on the machine disturb less).
"""
import argparse, sys, time
from statistics import mean, stdev
import torch
from tqdm import tqdm
from backprop_nb.core.data import load_mnist
from backprop_nb.commands.learner import new_learner

recipes = dict(
    small=dict(hidden=(50,), lr=.005, epochs=10, bs=64, goal=.974),
    large=dict(hidden=(512,512), lr=.002, dropout=.2, epochs=15, bs=128, goal=.985))

def one(parts, seed, engine, epochs, bs, goal, **options):
    "Test accuracy, seconds on the clock and seconds of the processors for one seed"
    (x, y), _, test = parts
    learn, wall, cpu = new_learner(seed=seed, engine=engine, **options), time.perf_counter(), time.process_time()
    learn.fit(x, y, epochs, bs)
    return learn.evaluate(*test)['accuracy'], time.perf_counter() - wall, time.process_time() - cpu

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--seeds', type=int, default=5)
    ap.add_argument('--recipe', choices=list(recipes), action='append')
    ap.add_argument('--engine', choices=['hand', 'torch'], default='hand')
    ap.add_argument('--data')
    a = ap.parse_args()
    parts, failed = load_mnist(a.data), []
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads, engine {a.engine}')
    for name in a.recipe or recipes:
        r = recipes[name]
        print(f"\n{name}: {'-'.join(map(str, (784, *r['hidden'], 10)))}, {r['epochs']} epochs, batches of {r['bs']}")
        accs = []
        for seed in tqdm(range(a.seeds), leave=False, disable=None):
            acc, wall, cpu = one(parts, seed, a.engine, **r)
            accs.append(acc)
            tqdm.write(f'  seed {seed}: {acc:.2%}   {wall:5.1f} s, {cpu:5.1f} s of the processors')
        print(f"  mean {mean(accs):.3%}, standard deviation {stdev(accs) if len(accs) > 1 else 0:.3%}; the goal is {r['goal']:.1%}")
        if mean(accs) < r['goal']: failed.append(name)
    if failed: sys.exit(f'below the goal: {failed}')
