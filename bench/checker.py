"""What the checker says of right layers, and what it costs.

    python bench/checker.py                  the costs, beside what is wanted
    python bench/checker.py --modules [6]    PyTorch's own modules, so many samples of each in both dtypes, in training and evaluation
    python bench/checker.py --random 3000    so many right layers, drawn at random
"""
import argparse, collections, gc, resource, statistics, subprocess, sys, time
from pathlib import Path
import numpy as np, torch
import torch.nn.functional as F
sys.path[:0] = str(Path(__file__).resolve().parent.parent/'tests'),
from backprop_nb.check.layer import check_layer
from backprop_nb.modules import Linear, Module, Sequential

class Gelu(Module):
    "Without its second term"
    def forward(self, x): return F.gelu(x)
    def bwd(self, out, x): x.g = out.g*.5*(1 + torch.erf(x/2**.5))
class NumpyConv:
    "A 3x3 convolution in two loops"
    def __init__(self, w): self.w = w
    def forward(self, x):
        self.x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        n,_,h,w = x.shape
        out = np.zeros((n, len(self.w), h, w))
        for i in range(3):
            for j in range(3): out += np.einsum('nchw,kc->nkhw', self.x[:, :, i:i + h, j:j + w], self.w[:, :, i, j], optimize=True)
        return out
    def backward(self, g):
        h,w = g.shape[2:]
        self.dw,dx = np.zeros_like(self.w),np.zeros_like(self.x)
        for i in range(3):
            for j in range(3):
                self.dw[:, :, i, j] = np.einsum('nchw,nkhw->kc', self.x[:, :, i:i + h, j:j + w], g, optimize=True)
                dx[:, :, i:i + h, j:j + w] += np.einsum('nkhw,kc->nchw', g, self.w[:, :, i, j], optimize=True)
        return dx[:, :, 1:-1, 1:-1]
def attend(q, k, v): return (q@k.mT/q.shape[-1]**.5).softmax(-1)@v
def attend_b(g, q, k, v):
    s = q.shape[-1]**.5; p = (q@k.mT/s).softmax(-1); dp = g@v.mT
    ds = p*(dp - (dp*p).sum(-1, keepdim=True))/s
    return ds@k, ds.mT@q, p.mT@g
def mse(p, t): return ((p - t)**2).mean()
def mse_b(g, p, t): return 2*g*(p - t)/p.numel()

r = torch.randn
def a(*shape): return np.random.normal(size=shape)
costs = {   # layer and inputs, the verdict, seconds, megabytes above the start
    'small': (lambda: (Linear(r(4, 3), r(3)), r(6, 4)), 'right', .1, None),
    'linear 64x784 -> 50': (lambda: (Linear(r(784, 50), r(50)), r(64, 784)), 'right', 1, None),
    'attention 2x4x32x16': (lambda: ((attend, attend_b), *[r(2, 4, 32, 16) for _ in range(3)]), 'right', 1, None),
    'convolution 8x3x16x16': (lambda: (torch.nn.Conv2d(3, 8, 3, padding=1), r(8, 3, 16, 16)), 'right', 1, None),
    'the same in NumPy': (lambda: (NumpyConv(a(8, 3, 3, 3)), a(8, 3, 16, 16)), 'right', 1, None),
    'loss over 10^6': (lambda: ((mse, mse_b), r(10**6), r(10**6)), 'right', 3, 500),
    'wrong GELU in 784-128-10': (lambda: (Sequential(Linear(r(784, 128)/28, r(128)), Gelu(), Linear(r(128, 10)/11, r(10))), r(32, 784)),
                                 'WRONG', 5, None)}

def verdict(rep): return getattr(rep, 'verdict', None) or ('not checked' if rep.problem else 'right' if rep.ok else 'WRONG')
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024

def one(name, rounds):
    "In a process of its own: `verdict | megabytes | seconds of each round`"
    torch.manual_seed(0); np.random.seed(0)
    check_layer(Linear(r(4, 3), r(3)), r(6, 4))   # to warm up
    args = costs[name][0]()
    gc.collect()
    before,took = peak(),[]
    for _ in range(rounds):
        start = time.perf_counter()
        rep = check_layer(*args)
        took.append(time.perf_counter() - start)
    print('|', verdict(rep), '|', peak() - before, '|', *took)

def the_costs(rounds, threads):
    print(f'medians of {rounds} rounds, {threads} threads, torch {torch.__version__}, each in a process of its own\n')
    for name,(_,truth,seconds,mb) in costs.items():
        res = subprocess.run([sys.executable, __file__, '--one', name, '--rounds', str(rounds), '--threads', str(threads)],
                             capture_output=True, text=True)
        if res.returncode: print(f'{name:26} failed: {res.stderr.strip().splitlines()[-1]}'); continue
        _,said,used,took = [o.strip() for o in res.stdout.splitlines()[-1].split('|')]
        took,used = [*map(float, took.split())],float(used)
        mid = statistics.median(took)
        ok = said == truth and mid < seconds and (mb is None or used < mb)
        print(f'{name:26}{mid:8.3f} s   from {min(took):.3f} to {max(took):.3f}   {used:5.0f} MB   {said:12}'
              f' wanted: {truth}, {seconds} s' + (f', {mb} MB' if mb else '') + f'   {"within" if ok else "NOT WITHIN"}')

def right_layers(opts):
    import test_right_layers as t
    start = time.perf_counter()
    if opts.modules is not None:
        for name in t.infos:
            for dtype,training,said,rep in t.modules(name, opts.modules)[:opts.show]:
                print(f'{name}, {dtype}, training={training}:\n{rep}\n')
    else:
        for seed in range(opts.random):
            name,*args = t.draw(seed)
            said,rep = t.check(name, args)
            if said in ('WRONG', 'raised') and t.counts[name][said] <= opts.show: print(f'seed {seed}, {name}:\n{rep}\n')
    print(t.table('verdicts'))
    every = sum(t.counts.values(), collections.Counter())
    share = (every['right'] + every['in part'])/every.total()
    print(f'\n{every.total()} checks in {time.perf_counter() - start:.0f} s; right, wholly or in part: {share:.1%}')

p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
p.add_argument('--modules', type=int, nargs='?', const=6, help='samples of each module, dtype and mode')
p.add_argument('--random', type=int, help='how many to draw')
p.add_argument('--show', type=int, default=1, help='reports that are printed of each module or kind')
p.add_argument('--rounds', type=int, default=5)
p.add_argument('--threads', type=int, default=1)
p.add_argument('--one', help=argparse.SUPPRESS)
opts = p.parse_args()
torch.set_num_threads(opts.threads)
if opts.one: one(opts.one, opts.rounds)
elif opts.modules is not None or opts.random: right_layers(opts)
else: the_costs(opts.rounds, opts.threads)
