"""The full-batch step of the two-layer network, by hand and under autograd, side by side.

    python bench/step.py [--rows 50000] [--hidden 50] [--rounds 15]
    python bench/step.py --sweeps      a run forward beside forward and backward, and what a nudge for each parameter would take

All ways compute the loss and all five gradients (w1, b1, w2, b2 and the input) and take turns within one run, so that a machine that
slows down slows all of them. Printed are medians with their quartiles, and the ratio to autograd, taken round by round. Two
more figures follow: what the guard on shapes costs a call, and what importing the package adds to importing torch.
"""
import argparse, subprocess, sys, time
from functools import partial
from statistics import median, quantiles
import torch
from backprop_nb.commands.check import ways
from backprop_nb.core.data import load_mnist
from backprop_nb.core.guards import shapes
from backprop_nb.foundations import forward_and_backward, lin, mse, relu
from turns import turns

def spread(xs, unit=1e3, name='ms'):
    lo, mid, hi = (q*unit for q in quantiles(xs, n=4))
    return f'{mid:9.2f} {name}   quartiles {lo:.2f} to {hi:.2f}'

def steps(x, targ, ps, rounds):
    times = turns({k: partial(f, x, targ, *ps) for k, f in ways.items()}, rounds)
    for k, ts in times.items():
        ratio = median(a/b for a, b in zip(ts, times['autograd']))
        print(f'{k:12}{spread(ts)}   {ratio:5.3f} x autograd')

def sweeps(x, targ, ps, rounds):
    def forward():
        w1, b1, w2, b2 = ps
        return mse(lin(relu(lin(x, w1, b1)), w2, b2), targ)
    times = turns({'forward': forward, 'forward and backward': partial(forward_and_backward, x, targ, *ps)}, rounds)
    for k, ts in times.items(): print(f'{k:22}{spread(ts)}')
    print(f"ratio {median(b/a for a, b in zip(*times.values())):18.2f}")
    n = sum(p.numel() for p in ps)
    print(f"a run for each of {n:,} parameters: {n*median(times['forward'])/3600:.1f} hours")

def guard():
    f = shapes('x: n d, w: d k, b: k')(lambda x, w, b: None)
    bare = lambda x, w, b: None
    args, n = (torch.randn(64, 784), torch.randn(784, 50), torch.randn(50)), 20_000
    def cost(f):
        start = time.perf_counter()
        for _ in range(n): f(*args)
        return (time.perf_counter() - start)/n
    print(f"guard       {spread([cost(f) - cost(bare) for _ in range(9)], 1e6, 'us')} a call")

def imports():
    mods = ', '.join(f'backprop_nb.{o}' for o in ('core.data', 'foundations', 'modules', 'nn_module', 'commands.check'))
    code = f'import time, torch; t = time.perf_counter(); import {mods}; print(time.perf_counter() - t)'
    ts = [float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout) for _ in range(9)]
    print(f'import      {spread(ts)} on top of torch')

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for k, v in dict(rows=50_000, hidden=50, rounds=15).items(): ap.add_argument(f'--{k}', type=int, default=v)
    ap.add_argument('--sweeps', action='store_true')
    a = ap.parse_args()
    (x, y), *_ = load_mnist()
    torch.manual_seed(42)
    ps = torch.randn(784, a.hidden), torch.randn(a.hidden), torch.randn(a.hidden, 1), torch.randn(1)
    print(f'784-{a.hidden}-1, {a.rows:,} rows, torch {torch.__version__}, {torch.get_num_threads()} threads, {a.rounds} rounds')
    args = x[:a.rows], y[:a.rows].float(), ps, a.rounds
    if a.sweeps: sys.exit(sweeps(*args))
    steps(*args)
    guard()
    imports()
