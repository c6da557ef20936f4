"""How long `check_layer` takes on a 64x784 -> 50 linear layer, beside `torch.autograd.gradcheck`.

    python bench/check_layer.py [--rounds 5] [--threads 2]

gradcheck in its slow mode is measured on a smaller layer: it holds the whole Jacobian, twice, and at full size that
would be (64*784 + 784*50 + 50) x (64*50) numbers.
"""
import argparse, statistics, time, torch
from backprop_nb.check.layer import check_layer
from backprop_nb.modules import Linear
from backprop_nb.nn_module import as_module

def timed(f, rounds):
    f()  # to warm up
    res = []
    for _ in range(rounds):
        start = time.perf_counter()
        f()
        res.append(time.perf_counter() - start)
    return f'{statistics.median(res):8.3f} s   from {min(res):.3f} to {max(res):.3f}'

def layer(n, d, k):
    torch.manual_seed(0)
    return Linear(torch.randn(d, k), torch.randn(k)), torch.randn(n, d)

def gradcheck(n, d, k, fast):
    l, x = layer(n, d, k)
    brg = as_module(Linear(l.w.double(), l.b.double()))
    names = [o for o, _ in brg.named_parameters()]
    def f(x, *ps): return torch.func.functional_call(brg, dict(zip(names, ps)), (x,))
    args = [o.detach().double().clone().requires_grad_() for o in (x, *brg.parameters())]
    return lambda: torch.autograd.gradcheck(f, args, fast_mode=fast)

p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
p.add_argument('--rounds', type=int, default=5)
p.add_argument('--threads', type=int, default=2)
a = p.parse_args()
torch.set_num_threads(a.threads)
l, x = layer(64, 784, 50)
small = 8, 40, 10
print(f'medians of {a.rounds} rounds, {a.threads} threads, torch {torch.__version__}\n')
print('64x784 -> 50')
print('  check_layer            ', timed(lambda: check_layer(l, x).raise_(), a.rounds))
print('  gradcheck, fast mode   ', timed(gradcheck(64, 784, 50, True), a.rounds))
size = (64*784 + 784*50 + 50)*(64*50)*8*2 / 2**30
print(f'  gradcheck, slow mode      not run: two Jacobians of {size/2:.1f} GiB each')
print(f'{small[0]}x{small[1]} -> {small[2]}')
print('  check_layer            ', timed(lambda: check_layer(*layer(*small)).raise_(), a.rounds))
print('  gradcheck, fast mode   ', timed(gradcheck(*small, True), a.rounds))
print('  gradcheck, slow mode   ', timed(gradcheck(*small, False), a.rounds))
print('''
what each covers
  check_layer             eight random directions at the large size, all elements at the small one; autograd of the raw
                          forward; four inputs and cotangents; repeated runs; layouts; a batch of one; float32
  gradcheck, fast mode    one random direction of inputs and outputs; the same result twice
  gradcheck, slow mode    all elements; the same result twice''')
