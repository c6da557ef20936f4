"""An epoch by hand, the same epoch under autograd, and the floor: the same matrix products with nothing around them.

    python bench/train.py [--rounds 11] [--steps 200] [--no-compile] [--cpu]

For 784-50-10 at batch 64 and 784-512-10 at batch 64 and 1024, each way runs the same number of steps in every round, and the ways
take turns, so that a machine that slows down slows all of them. All but the floor do the same work: shuffle, take the rows, forward,
loss and its value, backward, one step of SGD. Printed are the median of the rounds with quartiles, per step, and how many times
faster than eager autograd each way is, round by round, with quartiles. On a machine that others use as well, --cpu with
OMP_NUM_THREADS=1 counts the processor's time in place of the clock's.
"""
import argparse, shutil, sys, time
from functools import partial
from statistics import quantiles
import torch
from torch import nn
from backprop_nb.core.data import load_mnist
from backprop_nb.losses import CrossEntropyLoss
from backprop_nb.optim import SGD
from backprop_nb.training import batches, mlp
from turns import turns

def by_hand(sizes, lr):
    net, loss = mlp(*sizes), CrossEntropyLoss()
    opt = SGD(net.parameters(), lr=lr)
    def step(x, y):
        value = loss(net(x), y).item()
        net.backward(loss.backward())
        opt.step()
        return value
    return step

def by_autograd(sizes, lr, compiled=False):
    d, h, k = sizes
    net, loss = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, k)), nn.CrossEntropyLoss()
    opt, run = torch.optim.SGD(net.parameters(), lr=lr), lambda x, y: loss(net(x), y)
    if compiled: run = torch.compile(run)
    def step(x, y):
        out = run(x, y)
        value = out.item()
        opt.zero_grad()
        out.backward()
        opt.step()
        return value
    return step

def floor(sizes, bs):
    "The five matrix products of a step, on tensors that are there already"
    d, h, k = sizes
    x, a, g, ga = torch.randn(bs, d), torch.randn(bs, h), torch.randn(bs, k), torch.randn(bs, h)
    w1, w2 = torch.randn(d, h), torch.randn(h, k)
    def step(*_): x@w1, a@w2, g@w2.T, a.T@g, x.T@ga
    return step

def bench(sizes, bs, data, rounds, steps, compiled, clock):
    steps = min(steps, len(data[0])//bs)
    x, y = (t[:steps*bs] for t in data)
    ways = {'by hand': by_hand(sizes, .1), 'autograd, eager': by_autograd(sizes, .1)}
    if compiled: ways['autograd, compiled'] = by_autograd(sizes, .1, True)
    gen, bare = torch.Generator().manual_seed(42), floor(sizes, bs)
    def epoch(step):
        for xb, yb in batches(x, y, bs, gen): step(xb, yb)
    runs = {k: partial(epoch, step) for k, step in ways.items()}
    runs['by hand'] = torch.no_grad()(runs['by hand']) # as Learner.epoch has it
    def products():
        for _ in range(steps): bare()
    times = turns(runs | {'the floor': products}, rounds, clock, f'{sizes} {bs}')
    print(f"\n{'-'.join(map(str, sizes))} at batch {bs}, {steps} steps a round")
    for k, ts in times.items():
        lo, mid, hi = (q*1e6/steps for q in quantiles(ts, n=4))
        a, b, c = quantiles([e/t for e, t in zip(times['autograd, eager'], ts)], n=4)
        print(f'  {k:20}{mid:8.0f} us a step ({lo:.0f} to {hi:.0f})   {b:5.2f} x as fast as eager ({a:.2f} to {c:.2f})')

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--rounds', type=int, default=11)
    ap.add_argument('--steps', type=int, default=200, help='steps a round; at most an epoch')
    ap.add_argument('--no-compile', action='store_true')
    ap.add_argument('--cpu', action='store_true', help="time of the processor, not of the clock")
    ap.add_argument('--data')
    a = ap.parse_args()
    compiled = not a.no_compile
    if compiled and not any(map(shutil.which, ('c++', 'g++', 'clang++'))):
        print('NO C++ COMPILER FOUND: torch.compile is left out of this comparison', file=sys.stderr)
        compiled = False
    data, *_ = load_mnist(a.data)
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads, {a.rounds} rounds')
    for sizes, bs in ((784,50,10), 64), ((784,512,10), 64), ((784,512,10), 1024): \
        bench(sizes, bs, data, a.rounds, a.steps, compiled, time.process_time if a.cpu else time.perf_counter)
