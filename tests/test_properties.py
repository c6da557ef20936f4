"""Properties of every layer and function of the book, over generated shapes, layouts, dtypes and seeds.

The layers are found by walking the package: every subclass of Module, and every function f with a partner f_grad.
Each brings an example in `backprop_nb.core.examples`, a function of the sizes n, d, k and of a source of random
numbers; one that does not makes a test fail, so that a layer added later cannot be forgotten.
"""
import importlib, inspect, pkgutil
import backprop_nb, pytest, torch
from hypothesis import given, settings, strategies as st
from backprop_nb.check.adapters import adapt, clear_grads, seeded
from backprop_nb.check.layer import check_layer
from backprop_nb.core.compare import rel_err
from backprop_nb.core.examples import examples
from backprop_nb.modules import Module

sizes = dict(n=st.integers(1, 6), d=st.integers(1, 5), k=st.integers(1, 4), seed=st.integers(0, 10**6))
few = settings(max_examples=12, deadline=None, derandomize=True, database=None)

def found():
    "Everything in the package that has a backward pass"
    for info in pkgutil.walk_packages(backprop_nb.__path__, 'backprop_nb.'):
        mod = importlib.import_module(info.name)
        for name, o in vars(mod).items():
            if getattr(o, '__module__', None) != mod.__name__ or name.startswith('_'): continue
            if inspect.isclass(o) and issubclass(o, Module) and o is not Module: yield o
            if inspect.isfunction(o) and inspect.isfunction(getattr(mod, f'{name}_grad', None)): yield o

everything = list(dict.fromkeys([*found(), *examples]))
plain = {'Planted'}  # made of text, for the scoreboard: has no shape of its own

def source(seed, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

def layer_of(o, n, d, k, seed):
    "A layer in float64, ready to run, with its values and a cotangent"
    r = source(seed)
    layer, *ins = examples[o](n, d, k, r)
    s = adapt(layer, ins).copy()
    out = s.raw(s.values).detach()
    return s, out, r(*out.shape)

def gradients(s, values, cot):
    "The layer's own gradients, from cleared ones, on a copy"
    c = s.copy(torch.float64, values)
    clear_grads(*c.values)
    return run(c, c.values, cot)

def run(c, values, cot):
    with seeded(): return c.run(values, cot.clone())[1]

def close(a, b, rtol=1e-9, floor=1e-10):
    "Equal up to rounding"
    return rel_err(a, b) <= rtol or (a - b).norm() <= floor

@pytest.mark.parametrize('o', [o for o in found() if o.__name__ not in plain], ids=lambda o: o.__name__)
def test_brings_an_example(o):
    assert o in examples, f'{o.__name__} needs a line in its notebook: examples[{o.__name__}] = lambda n,d,k,r: (layer, *inputs)'

def each(f): return pytest.mark.parametrize('o', [o for o in everything if o in examples], ids=lambda o: o.__name__)(few(given(**sizes)(f)))

@each
def test_agrees_with_autograd(o, n, d, k, seed):
    s, out, cot = layer_of(o, n, d, k, seed)
    if not out.ndim: cot = torch.ones_like(out)
    leaves = [v.clone().requires_grad_() if need else v for v, need in zip(s.values, s.need)]
    ids = [i for i, need in enumerate(s.need) if need]
    want = torch.autograd.grad(s.raw(leaves), [leaves[i] for i in ids], cot, allow_unused=True)
    got = gradients(s, s.values, cot)
    for i, w in zip(ids, want):
        if got[i] is None: continue      # data, such as targets: check_layer says whether that is right
        assert got[i].shape == s.values[i].shape and got[i].dtype == s.values[i].dtype
        assert close(got[i], torch.zeros_like(got[i]) if w is None else w), s.names[i]

@each
def test_linear_in_the_cotangent(o, n, d, k, seed):
    s, out, a = layer_of(o, n, d, k, seed)
    b = source(seed + 1)(*out.shape)
    sums = [gradients(s, s.values, c) for c in (a, b, 2*a - 3*b)]
    for x, y, z in zip(*sums):
        if x is None or not out.ndim and torch.equal(x, y): continue   # data, or the end of a chain: out.g is not used
        assert close(2*x - 3*y, z)

@each
def test_additive_over_the_batch(o, n, d, k, seed):
    "For a layer that treats rows alone, the parameters' gradients of two halves add up to those of the whole"
    s, out, cot = layer_of(o, n + 1, d, k, seed)
    x = s.values[0]
    if not out.ndim or len(out) != len(x) or len(x) < 2: return
    try: alone = s.raw([x[:1], *s.values[1:]])
    except Exception: return                                            # its inputs belong together
    if not close(alone, out[:1]) or not close(s.raw(s.values, skip=1), out): return   # its rows mix, or it is random
    whole, parts = gradients(s, s.values, cot), []
    for part in (slice(0, 1), slice(1, None)):
        c = s.copy(torch.float64, s.values)
        parts.append(run(c, [c.values[0][part], *c.values[1:]], cot[part]))
    for i, (a, b, w) in enumerate(zip(*parts, whole)):
        if w is None: continue
        assert close(torch.cat([a, b]) if i == 0 else a + b, w), s.names[i]

@each
def test_any_layout_and_dtype(o, n, d, k, seed):
    r = source(seed, torch.float32 if seed % 2 else torch.float64)
    def far(*shape): return r(*shape[:-2], *shape[:-3:-1]).mT if len(shape) > 1 else r(2*shape[0])[::2]
    layer, *ins = examples[o](n, d, k, far if seed % 3 else r)
    report = check_layer(layer, *ins)
    assert not report.wrong and not report.problem, report   # a softmax over one number has nothing to compare

def test_a_forgotten_layer_is_noticed():
    class Forgotten(Module): pass
    with pytest.raises(AssertionError, match='needs a line'): test_brings_an_example(Forgotten)
