"""Says of a case whether its gradients are right, without the checker: central differences in plain loops, at the place given, at one
nearby and at one drawn anew. It runs the plain styles; of others a case says `ref`, or that it cannot be done (`ref=False`)."""
import copy, inspect
import numpy as np, torch
from torch.func import functional_call
from backprop_nb.modules import Module
from .table import Ref, RIGHT, WRONG

class Ctx:
    "What an autograd.Function writes on"
    needs_input_grad = (True,)*9
    def save_for_backward(self, *ts): self.saved_tensors = ts
    def mark_non_differentiable(self, *ts): pass

def is_float(v): return torch.is_tensor(v) and v.is_floating_point()
def as_list(o): return list(o) if isinstance(o, (tuple, list)) else [o]
def signature(f):
    try: return list(inspect.signature(f).parameters)
    except ValueError: return []

def held(o, depth=0):
    "(holder, key, tensor or array) of what is in an object, its lists, dicts and objects"
    items = o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, (list, tuple)) else getattr(o, '__dict__', {}).items()
    for k,v in items:
        if is_float(v) or isinstance(v, np.ndarray): yield o,k,v
        elif not (inspect.isroutine(v) or isinstance(v, type)) and depth < 4 and k not in ('grads', 'gradients'):
            yield from held(v, depth + 1)

def left_for(layer, holder, k, v):
    "The gradient that a backward has left for the tensor v, under one of the usual names"
    for o in getattr(v, 'g', None),getattr(v, 'grad', None):
        if o is not None: return o
    d = vars(layer)
    for box in d.get('grads'),d.get('gradients'),d:
        for n in ([k] if isinstance(box, list) else [f'd{k}', f'd{str(k).lower()}', f'{k}_grad', f'grad_{k}'] + [k]*(box is not d)):
            if isinstance(box, list) or box and n in box: return box[n]

def as_ref(args):
    "A Ref of a layer in one of the plain styles"
    layer,*ins = args
    n,arrays = len(ins),[isinstance(o, np.ndarray) for o in ins]
    ins = [torch.as_tensor(o) for o in ins] if any(arrays) else ins
    def feed(vs): return [v.numpy() if any(arrays) else v.clone() if torch.is_tensor(v) else v for v in vs]
    if isinstance(layer, type):
        new = 'setup_context' in vars(layer)
        def f(*vs): return layer.forward(*() if new else (Ctx(),), *feed(vs))
        def grads(g, *vs):
            ctx,vs = Ctx(),feed(vs)
            if new: layer.setup_context(ctx, tuple(vs), layer.forward(*vs))
            else: layer.forward(ctx, *vs)
            res,again = [as_list(layer.backward(ctx, given := g.clone())) for _ in range(2)]   # twice on the same graph
            same = torch.equal(given, g) and all(a is b is None or torch.allclose(a, b, equal_nan=True) for a,b in zip(res, again))
            return res if same else [g*torch.nan]*n
        return Ref(f, grads, ins)
    if isinstance(layer, tuple):
        def f(*vs): return torch.as_tensor(res[0] if isinstance(res := layer[0](*feed(vs)), tuple) else res)
        def grads(g, *vs):
            if isinstance(res := layer[0](*feed(vs)), tuple): return as_list(layer[1](*feed([g]), res[1]))
            have,b = signature(layer[0]),signature(layer[1])
            if not set(have) & set(b) and len(b) > n: have = b[1:]   # a builtin: the gradient comes first
            by_name = dict(zip(have, feed(vs)))
            return as_list(layer[1](*[by_name[o] if o in by_name else feed([g])[0] for o in b]))
        return Ref(f, grads, ins)
    if not hasattr(layer, 'backward') or isinstance(layer, torch.nn.Module):   # autograd against differences
        ps = dict(layer.named_parameters()) if isinstance(layer, torch.nn.Module) else {}
        def f(*vs):
            return functional_call(copy.deepcopy(layer), dict(zip(ps, vs[n:])), tuple(vs[:n])) if ps else layer(*vs)
        def grads(g, *vs):
            vs = [v.detach().clone().requires_grad_() if is_float(v) else v for v in vs]
            got = iter(torch.autograd.grad(f(*vs), [v for v in vs if is_float(v)], g, allow_unused=True))
            return [next(got) if is_float(v) else None for v in vs]
        return Ref(f, grads, [*ins, *[p.detach() for p in ps.values()]])
    def fill(l, vs):
        "Put the values of the parameters into the layer"
        own = list(held(l))
        for (*_,old),v in zip(own, vs[n:]): old[...] = v.numpy() if isinstance(old, np.ndarray) else v
        return own
    def f(*vs):
        fill(l := copy.deepcopy(layer), vs)
        return torch.as_tensor(l(*vs[:n]) if isinstance(l, Module) else getattr(l, 'forward', l)(*feed(vs[:n])))
    def grads(g, *vs):
        l,vs = copy.deepcopy(layer),[v.clone() if torch.is_tensor(v) else v for v in vs]
        own = fill(l, vs)
        if isinstance(l, Module):
            l(*vs[:n]); l.backward(g)
            return [getattr(v, 'g', None) for v in vs[:n]] + [left_for(l, *o) for o in own]
        getattr(l, 'forward', l)(*feed(vs[:n]))
        res = as_list(l.backward(*feed([g])[:len(signature(l.backward))]))
        return res + [left_for(l, *o) for o in own] if len(res) <= n else res
    return Ref(f, grads, [*ins, *[torch.as_tensor(v).detach().clone() for *_,v in held(layer)]])

def compare(ref, values, need, cot, single=False):
    "Are the gradients those of differences at these values? None where they cannot be told"
    values = [v.detach().double() if is_float(v) else v for v in values]
    try: out = ref.f(*values)
    except Exception: return None   # a place that the layer does not take
    if not out.isfinite().all(): return None
    g = cot(torch.randn(out.shape)) if out.ndim else torch.ones(())
    got = ref.grads(g.clone(), *values) if not single else ref.grads(g.float(), *[v.float() if is_float(v) else v for v in values])
    for i,v in enumerate(values):
        if not is_float(v) or i < len(need) and not need[i]: continue
        grad = got[i] if i < len(got) else None
        if grad is None and i >= len(need): continue   # state
        if grad is None and i and i < len(need) and not out.ndim: continue   # the target of a loss
        grad = torch.zeros_like(v) if grad is None else torch.as_tensor(grad).double()
        if torch.equal(grad, g) and grad.shape != v.shape: grad = grad.sum_to_size(v.shape)   # passed on, and the engine sums
        if grad.numel() != v.numel(): return False
        for d in [*torch.eye(v.numel())[:24], torch.ones(v.numel()), *torch.randn(4, v.numel())]:
            d = d.reshape(v.shape)
            alone = v.abs()[d != 0].item() if (d != 0).sum() == 1 else 0
            lo,hi,tol = slopes(ref.f, values, i, d, 1e-4*(alone or v.abs().max().item() or 1.), out, g)
            mine = (grad.reshape(v.shape)*d).sum().item()
            if np.isfinite([lo, hi]).all() and not lo - tol <= mine <= hi + tol: return False   # nan is not between, either
    return True

def slopes(f, values, i, d, h, out, g):
    "sum(g*out) along d: the smallest and the largest slope, which differ at a kink, and how far they can be trusted"
    def at(s): return f(*[v + s*h*d if j == i else v for j,v in enumerate(values)])
    a,b = at(1),at(-1)
    right,left = g*(a - out)/h,g*(out - b)/h
    touched = a != b
    noise = 20*torch.finfo(torch.float64).eps*(touched*(g*out).abs()).sum()/h if touched.any() else 1e-12*g.abs().sum()
    least,most = torch.minimum(left, right),torch.maximum(left, right)
    return least.sum().item(),most.sum().item(),(noise + 1e-3*torch.maximum(least.abs(), most.abs()).sum()).item()

cots = (lambda g: g), (lambda g: 1e4*g), (lambda g: 1e-4*g), (lambda g: g*(g > 0)), (lambda g: -g.abs())

def answer(case):
    "right, WRONG, or None where this cannot say"
    if case.ref is False or 'rows' in case.build()[1]: return None
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        args,kw = case.make()
        ref = case.ref() if case.ref else as_ref(args)
        data = kw.get('data', ())
        data = {data} if isinstance(data, (str, int)) else set(data)
        layer = args[0]
        names = signature(layer[0] if isinstance(layer, tuple) else getattr(layer, 'forward', layer))
        if isinstance(layer, type) and 'setup_context' not in vars(layer): names = names[1:]
        need = [not (i in data or names[i:i + 1] and names[i] in data) for i in range(len(args) - 1)]
        torch.manual_seed(1)
        places = [list(ref.values)]
        for move in lambda v: v + .3*v.abs().mean()*torch.randn_like(v), torch.randn_like, lambda v: v + .3*torch.randn_like(v):
            places.append([move(v) if is_float(v) and (i >= len(need) or need[i]) else v for i,v in enumerate(ref.values)])
        single = 'float32 alone' in case.kind
        said = [compare(ref, places[0], need, c) for c in cots]
        said += [compare(ref, p, need, cots[0], o) for p in places for o in {False, single}]
        return WRONG if False in said else RIGHT if True in said else None
    finally: torch.set_default_dtype(before)
