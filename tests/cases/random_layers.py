"""Right layers of many kinds, in all styles, of random sizes, dtypes and values: `draw(seed)` gives (kind, layer, *inputs). None may be
called wrong."""
import math
import numpy as np, torch
import torch.nn.functional as F
from torch import nn
from backprop_nb.modules import Linear, Module, ReLU, Residual, Sequential
from .table import function, remembers

class Draw:
    "Sizes, dtype and values of one layer"
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.n,self.d,self.k = [int(o) for o in self.rng.integers(1, 7, 3)]
        self.dtype = self.one(torch.float32, torch.float64)
        self.scale = self.one(1., 1., 1., 1e-3, 1e3, 1e-6, 1e6)
        self.way = self.one(*['normal']*5, 'zeros', 'ties', 'constant', 'saturated', 'dead')
    def one(self, *os): return os[int(self.rng.integers(len(os)))]
    def t(self, a): return torch.tensor(np.asarray(a)).to(self.dtype)
    def tame(self, *shape): return self.t(self.rng.normal(size=shape))
    def pos(self, *shape): return self.tame(*shape).exp()
    def ints(self, hi, *shape): return torch.tensor(self.rng.integers(0, hi, shape))
    def x(self, *shape):
        "Values with zeros, ties, constants, of small and large scale"
        v = self.tame(*shape)
        if self.way == 'zeros': v = v*self.t(self.rng.random(shape) > .4)
        if self.way == 'ties': v = v.round()
        if self.way == 'constant': v = torch.full_like(v, self.one(0., 1., -2.))
        if self.way == 'saturated': v = v*30
        if self.way == 'dead': v = -v.abs() - .1
        return v*self.scale
    def small(self, *shape):
        "The same, of no more than 20 in size"
        return self.x(*shape).clamp(-20, 20)
    def w(self, *shape): return self.tame(*shape)*self.one(0, 1, 1, 1) + self.one(1, 0, 0, 0)   # of zeros or ones at times
    def spd(self): a = self.tame(self.d, self.d); return a@a.T + torch.eye(self.d).to(a)*.5
    def styled(self, f, rule, *ins):
        "A layer of out = f(*ins), with the rule(g, out, *ins), in a style by chance"
        def returned(res): return [torch.zeros_like(v) if r is None and v.is_floating_point() else r for r,v in zip(
            res if isinstance(res, tuple) else (res,), ins)]
        class Set(Module):
            def forward(self, *vs): return f(*vs)
            def bwd(self, out, *vs):
                for v,o in zip(vs, returned(rule(out.g, out, *vs))):
                    if v.is_floating_point(): v.g = o.clone()
        class Init(nn.Module):
            def __init__(self): super().__init__(); self.f = function(f, rule)
            def forward(self, *vs): return self.f.apply(*vs)
        style = self.one('function', 'object', 'module', 'cache', 'nn')
        layer = dict(function=lambda: function(f, rule), object=lambda: remembers(f, rule), module=Set, nn=Init,
                     cache=lambda: ((lambda *vs: (lambda o: (o, (o, *vs)))(f(*vs))), lambda dout, cache: rule(dout, *cache)))[style]()
        return (layer, *ins)

kinds = {}
def kind(f): kinds[f.__name__] = f; return f
def easy(name, ins, f, rule): kinds[name] = lambda c: c.styled(f, rule, *ins(c))

def x(c): return c.x(c.n, c.d),
def tame(c): return c.tame(c.n, c.d),
def small(c): return c.small(c.n, c.d),
def pos(c): return c.pos(c.n, c.d),
def two(c): return c.x(c.n, c.d), c.x(c.n, c.d)
def one_hot(i, n, g): return F.one_hot(i, n).to(g)

easy('tanh', x, torch.tanh, lambda g, o, x: g*(1 - o**2))
easy('sigmoid', x, torch.sigmoid, lambda g, o, x: g*o*(1 - o))
easy('relu', x, torch.relu, lambda g, o, x: g*(x > 0))
easy('gelu', x, F.gelu, lambda g, o, x: g*(.5*(1 + (x/2**.5).erf()) + x*(-x*x/2).exp()/math.sqrt(2*math.pi)))
easy('silu', x, F.silu, lambda g, o, x: g*x.sigmoid()*(1 + x*(1 - x.sigmoid())))
easy('softplus', small, lambda x: torch.logaddexp(x, torch.zeros_like(x)), lambda g, o, x: g*x.sigmoid())
easy('elu', x, F.elu, lambda g, o, x: torch.where(x > 0, g, g*x.clamp(max=0).exp()))
easy('leaky', x, F.leaky_relu, lambda g, o, x: torch.where(x > 0, g, .01*g))
easy('clamp', x, lambda x: x.clamp(-1, 1), lambda g, o, x: g*((x >= -1) & (x <= 1)))
easy('abs', x, torch.abs, lambda g, o, x: g*x.sign())
easy('square', x, lambda x: x*x, lambda g, o, x: 2*g*x)
easy('cube', x, lambda x: x**3, lambda g, o, x: 3*g*x**2)
easy('exp', small, torch.exp, lambda g, o, x: g*o)
easy('log', pos, torch.log, lambda g, o, x: g/x)
easy('sqrt', pos, torch.sqrt, lambda g, o, x: g/(2*o))
easy('reciprocal', pos, lambda x: 1/x, lambda g, o, x: -g*o*o)
easy('sine', tame, torch.sin, lambda g, o, x: g*x.cos())
easy('mul', two, torch.mul, lambda g, o, x, y: (g*y, g*x))
easy('div', lambda c: (c.x(c.n, c.d), c.pos(c.n, c.d)), torch.div, lambda g, o, x, y: (g/y, -g*o/y))
easy('maximum', two, torch.maximum, lambda g, o, x, y: (g*(x > y) + g*(x == y)/2, g*(y > x) + g*(x == y)/2))
easy('add_row', lambda c: (c.x(c.n, c.d), c.x(c.d)), torch.add, lambda g, o, x, b: (g, g.sum(0)))
easy('mul_row', lambda c: (c.x(c.n, c.d), c.x(c.d)), torch.mul, lambda g, o, x, b: (g*b, (g*x).sum(0)))
easy('gate', two, lambda x, y: x*y.sigmoid(), lambda g, o, x, y: (g*y.sigmoid(), g*x*y.sigmoid()*(1 - y.sigmoid())))
easy('sum', x, lambda x: x.sum(1), lambda g, o, x: g[:, None].expand(x.shape))
easy('mean', x, lambda x: x.mean(0), lambda g, o, x: (g/len(x)).expand(x.shape))
easy('variance', lambda c: (c.tame(c.n + 1, c.d),), lambda x: x.var(0), lambda g, o, x: g*2*(x - x.mean(0))/(len(x) - 1))
easy('norm', tame, lambda x: x.norm(dim=1), lambda g, o, x: (g/o)[:, None]*x)
easy('logsumexp', small, lambda x: x.logsumexp(1), lambda g, o, x: g[:, None]*(x - o[:, None]).exp())
def amax(g, o, x): m = (x == o[:, None]).to(x); return g[:, None]*m/m.sum(1, keepdim=True)
easy('amax', x, lambda x: x.amax(1), amax)
easy('argmax_first', x, lambda x: x.max(1).values, lambda g, o, x: one_hot(x.argmax(1), x.shape[1], g)*g[:, None])
easy('product', pos, lambda x: x.prod(1), lambda g, o, x: (g*o)[:, None]/x)
easy('cumsum', x, lambda x: x.cumsum(1), lambda g, o, x: g.flip(1).cumsum(1).flip(1))
easy('sort', x, lambda x: x.sort(1).values, lambda g, o, x: torch.zeros_like(g).scatter(1, x.argsort(1), g))
easy('flip', x, lambda x: x.flip(0)*2, lambda g, o, x: 2*g.flip(0))
easy('roll', x, lambda x: x.roll(1, 1), lambda g, o, x: g.roll(-1, 1))
easy('transpose', x, lambda x: x.T*3, lambda g, o, x: 3*g.T)
easy('pad', x, lambda x: F.pad(x, (1, 2)), lambda g, o, x: g[:, 1:-2])
easy('gather', lambda c: (c.x(c.n, c.d), c.ints(c.d, c.n, 3)), lambda x, i: x.gather(1, i),
     lambda g, o, x, i: (torch.zeros_like(x).scatter_add(1, i, g), None))
easy('scatter_add', lambda c: (c.x(c.n, c.d), c.ints(c.d, c.n, c.d)), lambda x, i: torch.zeros_like(x).scatter_add(1, i, x),
     lambda g, o, x, i: (g.gather(1, i), None))
easy('embedding', lambda c: (c.x(c.d, c.k), c.ints(c.d, c.n)), lambda w, i: w[i],
     lambda g, o, w, i: (torch.zeros_like(w).index_add(0, i, g), None))
easy('matmul', lambda c: (c.x(c.n, c.d), c.tame(c.d, c.k)), torch.matmul, lambda g, o, x, w: (g@w.T, x.T@g))
easy('outer', lambda c: (c.x(c.n), c.x(c.k)), torch.outer, lambda g, o, a, b: (g@b, a@g))
easy('einsum', lambda c: (c.tame(2, c.n, c.d), c.tame(2, c.d, c.k)), lambda a, b: torch.einsum('bij,bjk->bik', a, b),
     lambda g, o, a, b: (torch.einsum('bik,bjk->bij', g, b), torch.einsum('bij,bik->bjk', a, g)))
easy('bilinear', lambda c: (c.tame(c.n, c.d), c.tame(c.n, c.k), c.tame(c.d, c.k)), lambda x, y, m: (x@m*y).sum(1),
     lambda g, o, x, y, m: ((g[:, None]*y)@m.T, g[:, None]*(x@m), x.T@(g[:, None]*y)))
easy('inverse', lambda c: (c.spd(),), torch.inverse, lambda g, o, x: -o.T@g@o.T)
easy('determinant', lambda c: (c.spd(),), torch.det, lambda g, o, x: g*o*torch.inverse(x).T)
easy('solve', lambda c: (c.spd(), c.tame(c.d, c.k)), torch.linalg.solve,
     lambda g, o, a, b: (-torch.linalg.solve(a.T, g)@o.T, torch.linalg.solve(a.T, g)))
def phi(a): a = a.tril(); return a - torch.diag(a.diagonal()/2)
def cholesky_b(g, o, x): li = torch.inverse(o); s = li.T@phi(o.T@g)@li; return (s + s.T)/2
easy('cholesky', lambda c: (c.spd(),), lambda x: torch.linalg.cholesky((x + x.T)/2), cholesky_b)
easy('trace', lambda c: (c.x(c.d, c.d),), torch.trace, lambda g, o, x: g*torch.eye(len(x)).to(x))
easy('softmax', small, lambda x: x.softmax(1), lambda g, o, x: o*(g - (g*o).sum(1, keepdim=True)))
easy('log_softmax', x, lambda x: x.log_softmax(1), lambda g, o, x: g - o.exp()*g.sum(1, keepdim=True))
def attention(q, k, v): return (q@k.mT/q.shape[-1]**.5).softmax(-1)@v
def attention_b(g, o, q, k, v):
    s = q.shape[-1]**.5; p = (q@k.mT/s).softmax(-1); dp = g@v.mT; ds = p*(dp - (dp*p).sum(-1, keepdim=True))/s
    return ds@k, ds.mT@q, p.mT@g
easy('attention', lambda c: (c.tame(2, c.n, c.d), c.tame(2, c.k, c.d), c.tame(2, c.k, c.d)), attention, attention_b)
def norm_b(y, s, g): return (g - g.mean(1, keepdim=True) - y*(g*y).mean(1, keepdim=True))/s
def std(x): return (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
easy('layernorm', tame, lambda x: (x - x.mean(1, keepdim=True))/std(x), lambda g, o, x: norm_b(o, std(x), g))
def rms(x): return (x.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
easy('rmsnorm', tame, lambda x: x/rms(x), lambda g, o, x: (g - o*(g*o).mean(1, keepdim=True))/rms(x))
easy('unit_rows', tame, lambda x: x/x.norm(dim=1, keepdim=True),
     lambda g, o, x: (g - o*(g*o).sum(1, keepdim=True))/x.norm(dim=1, keepdim=True))
easy('cross_entropy', lambda c: (c.x(c.n, c.d), c.ints(c.d, c.n)), F.cross_entropy,
     lambda g, o, z, t: (g*(z.softmax(1) - one_hot(t, z.shape[1], z))/len(z), None))
easy('mse', two, lambda p, t: ((p - t)**2).mean(), lambda g, o, p, t: (2*g*(p - t)/p.numel(), -2*g*(p - t)/p.numel()))
easy('bce_logits', lambda c: (c.small(c.n), c.ints(2, c.n)), lambda z, y: F.binary_cross_entropy_with_logits(z, y.to(z)),
     lambda g, o, z, y: (g*(z.sigmoid() - y)/len(z), None))
easy('hinge', lambda c: (c.x(c.n),), lambda m: (1 - m).clamp(min=0).sum(), lambda g, o, m: -g*(m < 1))
easy('huber', two, lambda p, t: F.huber_loss(p, t, reduction='sum'), lambda g, o, p, t: (g*(p - t).clamp(-1, 1), -g*(p - t).clamp(-1, 1)))
easy('im2col_conv', lambda c: (c.tame(c.n, 2, 6), c.tame(3, 2, 3)), lambda x, w: F.conv1d(x, w, padding=1),
     lambda g, o, x, w: (F.conv_transpose1d(g, w, padding=1), torch.einsum('nkt,nctr->kcr', g, F.pad(x, (1, 1)).unfold(2, 3, 1))))
easy('avgpool', lambda c: (c.x(c.n, 4, 6),), lambda x: F.avg_pool2d(x[:, None], 2)[:, 0],
     lambda g, o, x: g.repeat_interleave(2, 1).repeat_interleave(2, 2)/4)
def maxpool_b(g, o, x): m = x.unfold(1, 2, 2); return (one_hot(m.argmax(2), 2, g)*g[..., None]).flatten(1)
easy('maxpool', lambda c: (c.x(c.n, 6),), lambda x: x.unfold(1, 2, 2).amax(2), maxpool_b)

class Dense:
    "W and b, with the gradients under the names that `names` gives"
    def __init__(self, c, names): self.W,self.b,self.names = c.w(c.d, c.k),c.w(c.k),names
    def forward(self, x): self.x = x; return x@self.W + self.b
    def backward(self, g):
        for n,v in zip(self.names, (self.x.T@g, g.sum(0))): setattr(self, n, v)
        return g@self.W.T
@kind
def dense(c): return Dense(c, c.one(('dW', 'db'), ('dw', 'db'), ('W_grad', 'b_grad'), ('grad_W', 'grad_b'))), c.x(c.n, c.d)
class DenseDict:
    def __init__(self, c): self.params = {'W': c.w(c.d, c.k), 'b': c.w(c.k)}
    def forward(self, x): self.cache = x; return x@self.params['W'] + self.params['b']
    def backward(self, g): self.grads = {'W': self.cache.T@g, 'b': g.sum(0)}; return g@self.params['W'].T
@kind
def dense_dict(c): return DenseDict(c), c.x(c.n, c.d)
@kind
def book_linear(c): return Linear(c.w(c.d, c.k), c.w(c.k)), c.x(c.n, c.d)
@kind
def book_mlp(c): return Sequential(Linear(c.tame(c.d, 5), c.tame(5)), ReLU(), Linear(c.tame(5, c.k), c.tame(c.k))), c.x(c.n, c.d)
@kind
def book_residual(c): return Residual(Linear(c.tame(c.d, c.d), c.tame(c.d)), ReLU()), c.x(c.n, c.d)
def arrays(*vs): return [v.double().numpy() for v in vs]
class NumpyDense:
    def __init__(self, W, b): self.W,self.b = W,b
    def forward(self, x): self.x = x; return x@self.W + self.b
    def backward(self, g): self.dW,self.db = self.x.T@g,g.sum(0); return g@self.W.T
@kind
def numpy_dense(c): W,b,x = arrays(c.w(c.d, c.k), c.w(c.k), c.x(c.n, c.d)); return NumpyDense(W, b), x
class NumpySoftmax:
    def forward(self, x): e = np.exp(x - x.max(1, keepdims=True)); self.p = e/e.sum(1, keepdims=True); return self.p
    def backward(self, g): return self.p*(g - (g*self.p).sum(1, keepdims=True))
@kind
def numpy_softmax(c): return NumpySoftmax(), *arrays(c.small(c.n, c.d))
@kind
def numpy_relu_pair(c): return (lambda x: np.maximum(x, 0), lambda dout, x: dout*(x > 0)), *arrays(c.x(c.n, c.d))
@kind
def numpy_tanh_on_tensors(c):
    "torch in, NumPy inside"
    return remembers(lambda x: torch.as_tensor(np.tanh(x.numpy())), lambda g, o, x: g*(1 - o**2)), c.x(c.n, c.d)
class NumpyPool:
    def forward(self, x): self.x = x.reshape(len(x), -1, 2); return self.x.max(2)
    def backward(self, g): return ((self.x.argmax(2)[..., None] == np.arange(2))*g[..., None]).reshape(len(g), -1)
@kind
def numpy_pool(c): return NumpyPool(), *arrays(c.x(c.n, 2*c.d))
class Cell:
    "A recurrent cell over a sequence, sequence first"
    def __init__(self, c): self.w,self.u = c.tame(c.d, c.k),c.tame(c.k, c.k)
    def forward(self, x):
        self.x,self.hs = x,[x.new_zeros(x.shape[1], len(self.u))]
        for xt in x: self.hs.append((xt@self.w + self.hs[-1]@self.u).tanh())
        return torch.stack(self.hs[1:])
    def backward(self, g):
        self.w.g,self.u.g,dx,dh = torch.zeros_like(self.w),torch.zeros_like(self.u),torch.zeros_like(self.x),0
        for t in reversed(range(len(g))):
            a = (g[t] + dh)*(1 - self.hs[t + 1]**2)
            self.w.g += self.x[t].T@a; self.u.g += self.hs[t].T@a
            dx[t] = a@self.w.T; dh = a@self.u.T
        return dx
@kind
def recurrent(c): return Cell(c), c.tame(3, c.n, c.d)
class Dropout:
    def __init__(self, seed): self.gen = torch.Generator().manual_seed(seed)
    def forward(self, x): self.m = (torch.rand(x.shape, generator=self.gen) > .3).to(x)/.7; return x*self.m
    def backward(self, g): return g*self.m
@kind
def dropout_own_generator(c): return Dropout(int(c.rng.integers(99))), c.x(c.n, c.d)
class Norm:
    "Batch normalisation with running statistics, rebound in training"
    def __init__(self, c): self.m,self.v,self.training,self.a = c.tame(c.d),c.pos(c.d),c.one(True, False),c.w(c.d)
    def forward(self, x):
        m,v = (x.mean(0), x.var(0, unbiased=False)) if self.training else (self.m, self.v)
        if self.training: self.m,self.v = .9*self.m + .1*m.detach(),.9*self.v + .1*v.detach()
        self.s = (v + 1e-5).sqrt(); self.y = (x - m)/self.s
        return self.a*self.y
    def backward(self, g):
        self.a.g = (g*self.y).sum(0)
        g = g*self.a
        return (g - g.mean(0) - self.y*(g*self.y).mean(0))/self.s if self.training else g/self.s
@kind
def batchnorm_running(c): return Norm(c), c.tame(c.n + 1, c.d)

def module(name, make, ins):
    "A module of PyTorch, in training or evaluation, in the dtype drawn"
    kinds[f'nn_{name}'] = lambda c: (make(c).to(c.dtype).train(c.one(True, False)), *ins(c))
module('linear', lambda c: nn.Linear(c.d, c.k), x)
module('conv2d', lambda c: nn.Conv2d(2, 3, 3, padding=1), lambda c: (c.tame(c.n, 2, 4, 4),))
module('batchnorm', lambda c: nn.BatchNorm1d(c.d), lambda c: (c.tame(c.n + 1, c.d),))
module('layernorm', lambda c: nn.LayerNorm(c.d), tame)
module('groupnorm', lambda c: nn.GroupNorm(2, 4), lambda c: (c.tame(c.n, 4, 3),))
module('prelu', lambda c: nn.PReLU(c.d), x)
module('dropout', lambda c: nn.Dropout(.5), x)
module('rrelu', lambda c: nn.RReLU(), x)
module('embedding', lambda c: nn.Embedding(c.d, c.k), lambda c: (c.ints(c.d, c.n),))
module('gru_cell', lambda c: nn.GRUCell(c.d, c.k), lambda c: (c.tame(c.n, c.d), c.tame(c.n, c.k)))
module('maxpool', lambda c: nn.MaxPool1d(2, 1), lambda c: (c.x(c.n, 2, 5),))
module('mlp', lambda c: nn.Sequential(nn.Linear(c.d, 5), nn.GELU(), nn.Linear(5, c.k)), tame)
module('softplus', lambda c: nn.Softplus(), small)
module('attention', lambda c: nn.TransformerEncoderLayer(4, 2, 8, 0., batch_first=True), lambda c: (c.tame(2, 3, 4),))
class Held(nn.Module):
    "An LSTM cell that holds its state in a tuple"
    def __init__(self, c): super().__init__(); self.cell,self.hc = nn.LSTMCell(c.d, c.k),(c.tame(c.n, c.k), c.tame(c.n, c.k))
    def forward(self, x): return torch.cat(self.cell(x, self.hc), 1)
module('lstm_held', Held, tame)
module('sequence_lstm', lambda c: nn.LSTM(c.d, c.k), lambda c: (c.tame(3, c.n, c.d),))
module('cross_entropy', lambda c: nn.CrossEntropyLoss(), lambda c: (c.small(c.n, c.d), c.ints(c.d, c.n)))

def draw(seed, **fixed):
    "(kind, layer, *inputs); `fixed` sets what would be drawn: dtype, scale, way"
    torch.manual_seed(seed)
    c,name = Draw(seed),list(kinds)[seed % len(kinds)]
    vars(c).update(fixed)
    return name, *kinds[name](c)
