"""A training step of this tree and of another revision, in turn, and eager autograd beside them.

    python bench/states.py REVISION [--rounds 15] [--threads 1]

Each side runs in a process of its own, with its own copy of the package, and waits while another one works: what slows the machine
slows all of them. A side trains 784-h-10 by plain SGD on random images: shuffle nothing, forward, loss and its value, backward, step.
Printed are the medians with quartiles in microseconds a step, and how many times faster than eager autograd each side is, round by round.
"""
import argparse, os, subprocess, sys, tempfile
from pathlib import Path
from statistics import quantiles
from tqdm import tqdm

root = Path(__file__).resolve().parent.parent
cases = (50,64), (50,128), (50,1024), (512,64), (512,128), (512,1024)   # hidden units, rows

worker = '''
import sys, time, torch
from torch import nn
side, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
def by_hand(h):
    from backprop_nb.losses import CrossEntropyLoss
    from backprop_nb.optim import SGD
    from backprop_nb.training import mlp
    net, loss = mlp(784, h, 10), CrossEntropyLoss()
    opt = SGD(net.parameters(), lr=.1)
    def step(x, y):
        value = loss(net(x), y).item()
        loss.backward()
        net.backward()
        opt.step()
        return value
    return torch.no_grad()(step)
def eager(h):
    net, loss = nn.Sequential(nn.Linear(784, h), nn.ReLU(), nn.Linear(h, 10)), nn.CrossEntropyLoss()
    opt = torch.optim.SGD(net.parameters(), lr=.1)
    def step(x, y):
        out = loss(net(x), y)
        value = out.item()
        opt.zero_grad()
        out.backward()
        opt.step()
        return value
    return step
for line in sys.stdin:
    h, n, steps = map(int, line.split())
    if (h, n) != globals().get('now'):
        now, step = (h, n), (eager if side == 'eager' else by_hand)(h)
        torch.manual_seed(0)
        x, y = torch.rand(n, 784), torch.randint(10, (n,))
        for _ in range(3): step(x, y)
    start = time.perf_counter()
    for _ in range(steps): step(x, y)
    print((time.perf_counter() - start)/steps, flush=True)
'''

def start(side, folder, threads):
    return subprocess.Popen([sys.executable, '-c', worker, side, str(threads)], cwd=folder, text=True,
                            env=os.environ | dict(PYTHONPATH=str(folder)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def ask(p, *numbers):
    print(*numbers, file=p.stdin, flush=True)
    if not (said := p.stdout.readline()): sys.exit('a side has stopped: see above')
    return float(said)*1e6

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('revision', help='such as HEAD~1 or v0.1')
    ap.add_argument('--rounds', type=int, default=15)
    ap.add_argument('--threads', type=int, default=1)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as old:
        tar = subprocess.run(['git', 'archive', a.revision, 'backprop_nb'], cwd=root, capture_output=True)
        if tar.returncode: sys.exit(tar.stderr.decode().strip())
        subprocess.run(['tar', '-x', '-C', old], input=tar.stdout, check=True)
        sides = {'this tree': start('hand', root, a.threads), a.revision: start('hand', old, a.threads),
                 'autograd, eager': start('eager', root, a.threads)}
        print(f'{a.threads} threads, {a.rounds} rounds')
        for h, n in cases:
            steps = max(5, 40_000//(h + n))
            for p in sides.values(): ask(p, h, n, steps)
            times = {k: [] for k in sides}
            for i in tqdm(range(a.rounds), f'{h} {n}', leave=False, disable=None):
                for k in list(sides)[::1 if i % 2 else -1]: times[k].append(ask(sides[k], h, n, steps))
            print(f'\n784-{h}-10, {n} rows')
            for k, ts in times.items():
                lo, mid, hi = quantiles(ts, n=4)
                x, y, z = quantiles([e/t for e, t in zip(times['autograd, eager'], ts)], n=4)
                print(f'  {k:18}{mid:9.0f} us a step ({lo:.0f} to {hi:.0f})   {y:5.2f} x as fast as eager ({x:.2f} to {z:.2f})')
        for p in sides.values():
            p.stdin.close()
            p.wait()

if __name__ == '__main__': main()
