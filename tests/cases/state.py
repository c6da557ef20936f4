"Layers that keep something between calls, make it late, or draw random numbers"
import random
from dataclasses import dataclass
import numpy as np, torch
from torch import nn
from .table import Table

table = Table()
right,wrong,unchecked,kind,relatives = table.right,table.wrong,table.unchecked,table.kind,table.relatives
r,rand = torch.randn,torch.rand

kind('random numbers')
class Sample:
    def forward(self, mu, logvar): self.eps = torch.randn_like(mu); self.s = (.5*logvar).exp(); return mu + self.s*self.eps
    def backward(self, g): return g, g*.5*self.s*self.eps
@right(ref=False)
def random_reparametrised(): return Sample(), r(6, 4), r(6, 4)
class Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p): ctx.m = torch.bernoulli(torch.full_like(x, 1 - p))/(1 - p); return x*ctx.m
    @staticmethod
    def backward(ctx, g): return g*ctx.m, None
@right(ref=False)
def random_dropout(): return Drop, r(6, 4), .3
class Stoch:
    "Bernoulli of the input, passed straight through"
    def forward(self, p): return torch.bernoulli(p)
    def backward(self, g): return g
@wrong(also='not checked', ref=False)
def random_bernoulli(): return Stoch(), rand(6, 4)
class Masked:
    def __init__(self, draw, k=1): self.draw,self.k = draw,k
    def forward(self, x): self.m = torch.as_tensor(self.draw(x.shape)).to(x); return x*self.m
    def backward(self, g): return self.k*g*self.m
class Own(Masked):
    "A generator of its own"
    def __init__(self, gen, k=1): self.gen,self.k = gen,k
    def draw(self, shape):
        if isinstance(self.gen, torch.Generator): return rand(shape, generator=self.gen)
        return self.gen.random(shape) if isinstance(self.gen, np.random.Generator) else self.gen.random_sample(shape)
@right(also='not checked', ref=False)
def random_numpy_generator(): return Own(np.random.default_rng(0)), r(6, 4)
@right(also='not checked', ref=False)
def random_numpy_global(): return Masked(lambda s: np.random.rand(*s) > .5), r(6, 4)
@right(also='not checked', ref=False)
def random_python(): return Masked(lambda s: [[random.random() for _ in range(s[1])] for _ in range(s[0])]), r(6, 4)
@right(also='not checked', ref=False)
def random_own_torch_generator(): return Own(torch.Generator().manual_seed(0)), r(6, 4)
relatives()
def differ(rep): return 'differ' in str(rep)   # two runs
@unchecked(ref=False, says=differ)
def random_entropy():
    "From a generator made at each call: two runs differ, and nobody can seed it"
    return Masked(lambda s: np.random.default_rng().random(s)), r(6, 4)
@unchecked(ref=False, says=differ)
def random_system(): return Masked(lambda s: [[random.SystemRandom().random() for _ in range(s[1])] for _ in range(s[0])]), r(6, 4)
@right(also='not checked', ref=False)
def random_state(): return Own(np.random.RandomState(0)), r(6, 4)
@wrong(also='not checked', ref=False)
def random_numpy_generator_wrong(): return Own(np.random.default_rng(0), 2), r(6, 4)
@right(ref=False)
def random_rrelu(): return nn.RReLU(), r(6, 4)
@wrong(ref=False)
def random_redrawn():
    "The mask is drawn anew in the backward"
    class Redrawn:
        def forward(self, x): return x*(rand(x.shape) > .5)
        def backward(self, g): return g*(rand(g.shape) > .5)
    return Redrawn(), r(6, 4)

kind('state between calls')
class Cell:
    def __init__(self, d, k): self.w,self.u,self.h = r(d, k),r(k, k),None
    def forward(self, x):
        self.x,self.h0 = x,(torch.zeros(len(x), self.u.shape[0], dtype=x.dtype) if self.h is None else self.h)
        self.h = (x@self.w + self.h0@self.u).tanh()
        return self.h
    def backward(self, g): d = g*(1 - self.h**2); self.w.g,self.u.g = self.x.T@d,self.h0.T@d; return d@self.w.T
@right
def state_hidden(): return Cell(4, 3), r(6, 4)
class Lazy:
    w = None
    def forward(self, x):
        if self.w is None: self.w = torch.ones(x.shape[1], 3, dtype=x.dtype)*.5
        self.x = x
        return x@self.w
    def backward(self, g): self.w.g = self.x.T@g; return g@self.w.T
@right
def state_lazy(): return Lazy(), r(6, 4)
class Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w): ctx.save_for_backward(x, w); return (x@w).tanh()
    @staticmethod
    def backward(ctx, g):
        x,w = [t.detach().requires_grad_() for t in ctx.saved_tensors]
        with torch.enable_grad(): y = (x@w).tanh()
        return torch.autograd.grad(y, (x, w), g)
@right
def state_recomputed(): return Again, r(6, 4), r(4, 3)
class Ema:
    "Centred by a running mean, which is rebound"
    def __init__(self, d): self.m = torch.zeros(d)
    def forward(self, x): self.m = .9*self.m + .1*x.detach().mean(0); return x - self.m.detach()
    def backward(self, g): return g
@right(also='not checked', ref=False)
def state_running_mean():
    "g is the gradient with the mean a constant, which a plain difference does not take it for"
    return Ema(4), r(6, 4)
class Dense:
    "Weights made at the first call, and a gradient that is seven times too large"
    def __init__(self, k): self.k,self.w = k,None
    def forward(self, x):
        if self.w is None: self.w = r(x.shape[1], self.k, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x.dtype)
        self.x = x
        return x@self.w
    def backward(self, g): self.w.g = 7*self.x.T@g; return g@self.w.T
@wrong(ref=False)
def state_lazy_wrong(): return Dense(3), r(6, 4)
@wrong
def state_lazy_wrong_after_call(): l = Dense(3); x = r(6, 4); l.forward(x); return l, x
class Fixed:
    "Backward fills a buffer of the size given at construction"
    def __init__(self, n): self.n = n
    def forward(self, x): self.p = x.softmax(0); return self.p
    def backward(self, g):
        d = torch.zeros(self.n, dtype=g.dtype)
        for i in range(self.n):
            for j in range(self.n): d[i] = d[i] + g[j]*self.p[j]*(float(i == j) - self.p[i])
        return d
@right
def state_fixed_buffer(): return Fixed(6), r(6)
class Running(nn.Module):
    "A buffer is rebound in each call of training"
    def __init__(self, d): super().__init__(); self.register_buffer('mean', torch.zeros(d)); self.w = nn.Parameter(rand(d) + .5)
    def forward(self, x):
        m = x.mean(0)
        self.mean = .9*self.mean + .1*m.detach()
        return (x - m)*self.w
@right
def state_rebound_buffer(): return Running(4), r(6, 4)
class Spectral(nn.Module):
    "Power iteration on a vector that is rebound"
    def __init__(self): super().__init__(); self.w = nn.Parameter(r(4, 3)); self.u = r(4)
    def forward(self, x):
        with torch.no_grad():
            v = self.w.T@self.u; v = v/v.norm()
            self.u = self.w@v; self.u = self.u/self.u.norm()
        return x@(self.w/(self.u@self.w@v))
@right(also=('WRONG', 'not checked'), ref=False)
def state_power_iteration():
    "By design u and v are constants: their differences say otherwise. What is asked is that nothing crashes"
    return Spectral(), r(6, 4)
class Matched:
    "Shapes that fit at the given size alone"
    def forward(self, a, b): self.a,self.b = a,b; return (a@b).diagonal().sum()
    def backward(self, g): return g*self.b.T, g*self.a.T
@right
def state_fitting_shapes(): return Matched(), r(4, 4), r(4, 4)
relatives()
class Counts:
    def __init__(self): self.n = 0
    def forward(self, x): self.n += 1; self.x = x; return x.sin()
    def backward(self, g): return g*self.x.cos()
@right
def state_counter(): return Counts(), r(6, 4)
class Warm(Counts):
    "Another function from the third call on"
    def forward(self, x): super().forward(x); return x.sin() if self.n < 3 else x*2
@wrong(also='not checked', ref=False)
def state_warm_up(): return Warm(), r(6, 4)
class RunningWrong:
    def __init__(self, d): self.mean = torch.zeros(d)
    def forward(self, x): m = x.mean(0); self.mean = .9*self.mean + .1*m.detach(); return x - m
    def backward(self, g): return g
@wrong
def state_rebound_wrong(): return RunningWrong(4), r(6, 4)
class History:
    def __init__(self): self.seen = []
    def forward(self, x): self.seen.append(x); return x.exp()
    def backward(self, g): return g*self.seen.pop().exp()
@right
def state_stack(): return History(), r(6, 4)
class EvalNorm(nn.Module):
    def __init__(self): super().__init__(); self.bn = nn.BatchNorm1d(4); self.bn.eval()
    def forward(self, x): return self.bn(x)
@right
def state_eval_norm(): return EvalNorm(), r(6, 4)
class LazyBias(Lazy):
    b = None
    def forward(self, x):
        if self.b is None: self.b = torch.zeros(3, dtype=x.dtype)
        return super().forward(x) + self.b
    def backward(self, g): self.b.g = g.mean(0); return super().backward(g)
@wrong(ref=False)
def state_lazy_bias_wrong(): return LazyBias(), r(6, 4)

kind('state in tuples, dicts and objects')
@right(ref=False)
def held_lstm_tuple():
    class L(nn.Module):
        def __init__(self): super().__init__(); self.cell = nn.LSTMCell(4, 3); self.hc = r(6, 3),r(6, 3)
        def forward(self, x): return self.cell(x, self.hc)[0]
    return L(), r(6, 4)
@right(ref=False)
def held_lstm_input(): return nn.LSTM(4, 3), r(5, 2, 4), (r(1, 2, 3), r(1, 2, 3))
relatives()
def holder(hold, get, k=1):
    class Held:
        "x times a tensor that is held somewhere"
        def __init__(self): self.hold = hold
        def forward(self, x): self.x = x; return x*get(self.hold)
        def backward(self, g): get(self.hold).g = (g*self.x).sum(0); return k*g*get(self.hold)
    return Held(), r(6, 4)
@dataclass
class Box: a: torch.Tensor
@right
def held_in_a_dict(): return holder({'a': r(4)}, lambda h: h['a'])
@right
def held_in_a_tuple(): return holder((r(4), 'relu'), lambda h: h[0])
@right
def held_in_a_dataclass(): return holder(Box(r(4)), lambda h: h.a)
@right
def held_nested(): return holder({'l': [(Box(r(4)),)]}, lambda h: h['l'][0][0].a)
@wrong
def held_in_a_dataclass_wrong(): return holder(Box(r(4)), lambda h: h.a, 2)
@right(ref=False)
def held_gru_list():
    class L(nn.Module):
        def __init__(self): super().__init__(); self.cell = nn.GRUCell(4, 3); self.h = [r(6, 3)]
        def forward(self, x): return self.cell(x, self.h[-1])
    return L(), r(6, 4)
