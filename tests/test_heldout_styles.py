"""Layers in the styles that people write them in, see `heldout_styles`. First, without the checker: each planted mistake is one, and
each twin is right, by differences of the layer's own forward in plain loops. Then what the checker says of them, as a table after the
last test. A third of both runs by day; without `-m` all of it runs."""
import copy, inspect, re
import numpy as np, pytest, torch
from backprop_nb.check.layer import check_layer
from backprop_nb.modules import Module
from heldout_styles import mistakes

f64 = torch.float64
def by_day(os, one_in): return [o if i % one_in == 0 else pytest.param(o, marks=pytest.mark.nightly) for i, o in enumerate(os)]
def named(os, name=lambda m: m.name):
    parts = [(o.values[0], o.marks) if hasattr(o, 'marks') else (o, ()) for o in os]
    return [pytest.param(o, marks=marks, id=name(o)) for o, marks in parts]
twins = list({m.layer.name: m for m in mistakes}.values())   # one of each layer

# --- the truth, without the checker

def is_function(L): return isinstance(L, type) and issubclass(L, torch.autograd.Function)
def floats(o):
    "The floating tensors or arrays in what a forward returns, as arrays of float64"
    if isinstance(o, (tuple, list)): return [a for p in o for a in floats(p)]
    if isinstance(o, torch.Tensor): return [o.detach().double().numpy()] if o.is_floating_point() else []
    return [np.asarray(o, float)]

def call(L, ins):
    torch.manual_seed(0)
    if isinstance(L, tuple): return L[0](*ins)
    if is_function(L): return L.apply(*ins)
    return L(*ins) if isinstance(L, (Module, torch.nn.Module)) else L.forward(*ins)

class Bench:
    "One layer with its inputs, run by hand"
    def __init__(self, m, right=False, shown=False, dtype=f64, one_row=False):
        (self.L, *ins), self.kw = m.build(right, shown, dtype)
        self.how, self.ins = m.layer, ins
        f = self.L[0] if isinstance(self.L, tuple) else self.L.forward
        sig = [k for k in inspect.signature(f).parameters if k not in ('ctx', 'self')]
        data = self.kw.get('data', ())
        data = (data,) if isinstance(data, str) else data
        self.values = {k: v for k, v in zip(sig, ins) if k not in data and (isinstance(v, np.ndarray) and v.dtype.kind == 'f'
                       or isinstance(v, torch.Tensor) and v.is_floating_point())}
        self.names = m.layer.names.split() or list(self.values)
        self.slots = {}
        for o in filter(None, re.split(r',\s*(?=[\w.]+:)', m.layer.par)):
            k, where = o.split(': ', 1)
            value, self.slots[k] = where.split(' ~ ')
            self.values[k] = eval(value, {'L': self.L})
        if isinstance(self.L, (Module, torch.nn.Module)):
            self.values |= {k: p for k, p in self.L.named_parameters() if p.requires_grad or isinstance(self.L, Module)}
        if isinstance(self.L, tuple) and self.L[0].__closure__:
            cells = zip(self.L[0].__code__.co_freevars, self.L[0].__closure__)
            self.values |= {k: c.cell_contents for k, c in cells if isinstance(c.cell_contents, np.ndarray)}

    def out(self):
        "The outputs of a fresh copy"
        L, ins = copy.deepcopy((self.L, self.ins))
        with torch.no_grad():
            if f := self.kw.get('surrogate'): return floats(f(*ins))
            o = call(L, ins)
        return floats(o[0] if self.how.cache else o)

    def cotangents(self, seed=1):
        g = np.random.default_rng(seed)
        ones = self.how.back and not re.search(r'\bg\b', self.how.back)
        return [np.ones(o.shape) if ones else g.normal(size=o.shape) for o in self.out()]

    def want(self, cots, h=1e-5):
        "Central differences, one element after the other"
        res = {}
        if f := self.kw.get('cotangent'): cots = [f(torch.tensor(c)).numpy() for c in cots]
        for k, v in self.values.items():
            flat = v.detach().view(-1) if isinstance(v, torch.Tensor) else v.reshape(-1)
            assert isinstance(v, torch.Tensor) or np.shares_memory(flat, v)
            d = np.zeros(len(flat))
            for i in range(len(flat)):
                was, side = float(flat[i]), []
                for step in h, -h:
                    flat[i] = was + step
                    side.append(sum((o*c).sum() for o, c in zip(self.out(), cots)))
                flat[i] = was
                d[i] = (side[0] - side[1])/(2*h)
            res[k] = d.reshape(tuple(v.shape))
        return res

    def got(self, cots):
        "What the layer's own backward says; the cotangents come as its own kind of array"
        L, ins = self.L, self.ins
        torch_like = any(isinstance(v, torch.Tensor) for v in self.values.values())
        dtype = next((v.dtype for v in self.values.values() if isinstance(v, torch.Tensor)), None)
        cots = [torch.tensor(c, dtype=dtype) if torch_like else c for c in cots]
        if isinstance(L, Module):
            L(*ins)
            L.backward(cots[0])
            res = {k: getattr(v, 'g', None) for k, v in self.values.items()}
        elif isinstance(L, torch.nn.Module) or is_function(L):
            leaves = [v.detach().requires_grad_() for v in self.values.values() if not isinstance(v, torch.nn.Parameter)]
            new = {id(v): l for v, l in zip(self.values.values(), leaves)}
            o = call(L, [new.get(id(i), i) for i in ins])
            outs = [p for p in (o if isinstance(o, tuple) else (o,)) if p.requires_grad]
            at = [new.get(id(v), v) for v in self.values.values()]
            res = dict(zip(self.values, torch.autograd.grad(outs, at, cots, allow_unused=True)))
        else:
            out = call(L, ins)
            cache = None
            if self.how.cache: out, cache = out
            back = 'L[1](g, cache)' if self.how.cache else self.how.back
            grads = eval(back, dict(L=L, ins=ins, g=cots[0] if len(cots) == 1 else cots, out=out, cache=cache))
            if isinstance(grads, dict): res = {k[1:]: v for k, v in grads.items()}
            else: res = dict(zip(self.names, grads if isinstance(grads, tuple) else (grads,)))
            res |= {k: eval(where, dict(L=L)) for k, where in self.slots.items()}
        self.given = cots
        assert set(res) == set(self.values), (set(res), set(self.values))
        return {k: None if v is None else floats(v)[0] for k, v in res.items()}

    def wrong(self, tol=1e-5, seed=1, want=None):
        "{name: relative error} of the wrong ones"
        cots, res = self.cotangents(seed), {}
        want = want or self.want(cots)
        for k, v in self.got(cots).items():
            w = want[k]
            if v is None: v = 0*w
            err = np.inf if v.shape != w.shape else np.abs(v - w).max()/max(np.abs(w).max(), np.abs(v).max(), 1e-12)
            if not err < tol: res[f'{k}.g'] = err
        return res

def again(m, right):
    "What is wrong in a second run, with other inputs"
    b = Bench(m, right)
    assert not b.wrong()
    b.ins = [-.6*v if getattr(v, 'dtype', None) in (f64, np.dtype(float)) else copy.deepcopy(v) for v in b.ins]
    sig = dict(zip([k for k in b.values if k not in b.slots], [v for v in b.ins if getattr(v, 'dtype', None) in (f64, np.dtype(float))]))
    b.values |= sig
    return b.wrong(seed=2)

def kept(b):
    "Does a run leave the values and the incoming gradient as they were?"
    cots, before = b.cotangents(), [floats(v)[0].copy() for v in b.values.values()]
    b.got(cots)
    same = all(np.array_equal(o, floats(v)[0]) for o, v in zip(before, b.values.values()))
    return same and all(np.array_equal(c, floats(g)[0]) for c, g in zip(cots, b.given))

def float32(m, right):
    "What is wrong in float32, by the differences in float64 at the same values"
    low, high = Bench(m, right, dtype=torch.float32), Bench(m, right)
    for k, v in high.values.items(): v.copy_(low.values[k])
    return low.wrong(1e-3, want=high.want(high.cotangents()))

@pytest.mark.parametrize('m', named(by_day(twins, 3), lambda m: m.layer.name))
def test_twin_is_right(m):
    b = Bench(m, right=True)
    assert sum(v.numel() if isinstance(v, torch.Tensor) else v.size for v in b.values.values()) <= 400
    assert not b.wrong()
    assert kept(Bench(m, right=True))
    for o in [o for o in mistakes if o.layer is m.layer]:
        if o.hidden: assert not Bench(o, right=True, shown=True).wrong(), o.name
        if o.shows == 'again': assert not again(o, True)
        if o.shows == 'float32': assert not float32(o, True)

@pytest.mark.parametrize('m', named(by_day(mistakes, 3)))
def test_mistake_is_one(m):
    "And exactly the gradients that are named are wrong"
    if m.shows == 'again': assert set(again(m, False)) == set(m.wrong)
    elif m.shows == 'kept': assert not kept(Bench(m))
    elif m.shows == 'float32': assert not Bench(m).wrong() and set(float32(m, False)) == set(m.wrong)
    else:
        if m.hidden: assert not Bench(m).wrong()
        found = Bench(m, shown=m.hidden).wrong()
        assert set(found) == set(m.wrong) and min(found.values()) > 1e-4, found

def test_all_styles_are_there():
    assert len(mistakes) >= 70 and len({m.name for m in mistakes}) == len(mistakes)
    for part in ('book Module', 'children', 'nn.Module', 'old style', 'new style', 'f_backward in torch', 'f_backward in NumPy',
                 '(out, cache), tuple', '(out, cache), dict', 'self.dW', "self.grads['W']", 'self.dweights', 'W_grad', 'closures',
                 'loss class', 'state', 'integers', 'axis less'):
        assert sum(part in m.style for m in mistakes) >= 1, part

# --- what the checker says

seen = {}

@pytest.fixture(scope='module', autouse=True)
def table(request):
    "After the last test: named, unclear, named wrongly"
    yield
    if not seen: return
    groups = {k: [m for m, o in seen.items() if o[0] == k] for k in dict.fromkeys(o[0] for o in seen.values())}
    lines = [f'{sum(not m.endswith(" (twin)") for m in seen)} mistakes and {sum(m.endswith(" (twin)") for m in seen)} twins: '
             + ', '.join(f'{len(v)} {k}' for k, v in groups.items())]
    for k, v in groups.items():
        v = [m for m in v if k not in ('named', 'twin right') or 'blamed' in seen[m][1] or 'overlooked' in seen[m][1]]
        lines += [f'  {k:16} {m}  {seen[m][1]}' for m in v]
    with request.config.pluginmanager.getplugin('capturemanager').global_and_fixture_disabled(): print('', *lines, sep='\n')

def short(what):
    "The W of `params['W'].g`"
    return re.findall(r'\w+', what.removesuffix('.g'))[-1]

def what_it_says(m, report):
    "('named' or 'unclear' or 'named wrongly' or ..., the words of the row)"
    if report.problem: return 'not run', report.problem
    if not report.wrong: return ('not right' if report.verdict != 'right' else 'MISSED'), ''
    mine = [o for o in report.wrong if short(o.what) in map(short, m.wrong)] or report.wrong
    true = [o for o in mine if m.is_named(f'{" ".join(o.kinds)} {o.says} {"" if o.what.endswith(".g") else o.what}')]
    named = [o for o in true if 'unclear' not in o.kinds]
    if named: return 'named', ''
    if any('unclear' in o.kinds for o in mine): return 'unclear', m.wrong
    return 'named wrongly', ' | '.join(f'{o.what}: {o.says}' for o in mine)

def blamed(m, report):
    "Gradients that are right and are called wrong, and the other way round"
    if m.shows != 'at once' or m.hidden or report.problem: return ''
    want, got = ({short(n) for n in ns} for ns in (m.wrong, [o.what for o in report.wrong if o.what.endswith('.g')]))
    return ''.join(f' {said} {", ".join(sorted(o))};' for said, o in (('blamed though right:', got - want), ('overlooked:', want - got)) if o)

@pytest.mark.parametrize('m', named(by_day(mistakes, 3)))
def test_checker_sees_it(m):
    args, kw = m.build()
    report = check_layer(*args, **kw)
    kind, says = what_it_says(m, report)
    seen[m.name] = kind, f'{says}{blamed(m, report)}'
    if m.hidden: assert report.verdict != 'right', report
    else: assert report.verdict == 'WRONG', report

@pytest.mark.parametrize('m', named(by_day(twins, 3), lambda m: m.layer.name))
def test_no_false_alarm(m):
    args, kw = m.build(right=True)
    report = check_layer(*args, **kw)
    said = {'right': 'twin right', 'WRONG': 'FALSE ALARM'}.get(report.verdict, 'twin not checked')
    seen[f'{m.layer.name} (twin)'] = said, report.problem or ' | '.join(f'{o.what}: {o.says}' for o in report.wrong)
    assert report.verdict != 'WRONG', report
