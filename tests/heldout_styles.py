'''A third table of planted mistakes: layers in the styles that people write them in, each a small file of its own.

It was written before the checker that it tests, by someone who had not read it, so that it says how the checker fares on code
that nobody had in mind. A layer is a text with an `example(r)`, which returns what `check_layer` gets. A mistake is a replacement
in that text, together with the gradients that it makes wrong and words of which one stands in every true name for it. Without the
replacement the text is the right twin. `tests/test_heldout_styles.py` shows, without the checker, that each mistake is one.'''
import linecache, re, sys, types
from dataclasses import dataclass
import numpy as np, torch

head = '''import math, numpy as np, torch, torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from backprop_nb.modules import Module, Linear
'''

class Draw:
    "Random values: r(6,4) for torch, r.np(6,4) for NumPy"
    def __init__(self, seed, dtype): self.g,self.dtype = np.random.default_rng(seed),dtype
    def np(self, *shape): return self.g.normal(size=shape)
    def npi(self, hi, *shape): return self.g.integers(0, hi, shape)
    def __call__(self, *shape): return torch.tensor(self.np(*shape), dtype=self.dtype)
    def u(self, *shape): return torch.tensor(self.g.uniform(size=shape), dtype=self.dtype)
    def t(self, *values): return torch.tensor(values, dtype=self.dtype)
    def ones(self, *shape): return torch.ones(shape, dtype=self.dtype)
    def zeros(self, *shape): return torch.zeros(shape, dtype=self.dtype)

@dataclass
class Layer:
    "A right layer, and how to run it without the checker"
    name: str
    style: str
    text: str
    back: str = ''     # expression of what its backward returns; '' for a Module and for what autograd runs
    par: str = ''      # 'W: L.W ~ L.dW, ...': where each parameter is, and where backward leaves its gradient
    names: str = ''    # of the returned gradients, in order; those of the floating inputs where nothing is said
    cache: bool = False

@dataclass
class Mistake:
    layer: Layer
    label: str
    wrong: tuple       # names of the wrong gradients
    words: tuple       # one of them stands in each true name
    old: str
    new: str
    hidden: bool = False  # does it not show at the given values? then it does in example(r, shown=True)
    shows: str = 'at once'  # or 'again': in a second run; 'kept': damages a value; 'float32': in that dtype only
    @property
    def name(self): return f'{self.layer.name}: {self.label}'
    @property
    def style(self): return self.layer.style

    def is_named(self, says):
        "Is there a true name in these words? Each is the beginning of one"
        return any(re.search(rf'\b{re.escape(w)}', says.lower()) for w in self.words)

    def build(self, right=False, shown=False, dtype=torch.float32):
        "(args, kwargs) for check_layer"
        text = head + self.layer.text
        if not right:
            assert text.count(self.old) == 1, (self.name, text.count(self.old))
            text = text.replace(self.old, self.new)
        name = f'heldout_{"right" if right else "wrong"}_{self.layer.name}_{self.label}'.replace(' ', '_')
        mod = types.ModuleType(name)
        mod.__file__ = f'<{name}>'
        linecache.cache[mod.__file__] = len(text), None, text.splitlines(True), mod.__file__   # tracebacks show the lines
        sys.modules[name] = mod
        exec(compile(text, mod.__file__, 'exec'), mod.__dict__)
        res = mod.example(Draw(3, dtype), **({'shown': True} if shown else {}))
        return res if isinstance(res[1], dict) and len(res) == 2 and isinstance(res[0], tuple) else (res, {})

mistakes = []

def layer(name, style, text, *planted, **how):
    l = Layer(name, style, text, **how)
    for label,wrong,words,change,*more in planted:
        old,new = change.split(' => ')
        mistakes.append(Mistake(l, label, tuple(wrong.split()), tuple(o.strip() for o in words.lower().split(',')),
                                old, new, **(more[0] if more else {})))

# words for mistakes that several layers share
path = 'overwritten, path, term, detach, as a constant, as constant, as constants, taken as, treated as, is left out, forgotten'
mask = 'mask, condition, clip, clamp, only where, negative'
order = 'permut, order, transpos, reshape, swapped, rearrang, flip, revers, shuffl'
rows = 'row, slice, loop, bound, off by one, off-by-one, column, along axis'
deriv = 'derivative, slope'
tensor = 'wrong tensor, another tensor, another gradient, instead of, in place of, input for output, output for input'
factor = 'factor, times'
again = 'earlier, stale, again, second run, accumul, reset, added up, adds up, left over, cache'

# A. Modules of the book

layer('scale_shift', 'book Module', '''
class Scale(Module):
    def __init__(self, a, c): self.a,self.c = a,c
    def forward(self, x): return x*self.a + self.c
    def bwd(self, out, x):
        x.g = out.g*self.a
        self.a.g = (out.g*x).sum(0)
        self.c.g = out.g.sum(0)

def example(r, shown=False): return Scale(r(4) if shown else r.ones(4), r.zeros(4)), r(6,4)
''',
    ('gain missing, gain is ones', 'x.g', f'{factor}, {tensor}, {deriv}', 'x.g = out.g*self.a => x.g = out.g', dict(hidden=True)),
    ('gradient of the gain from the output', 'a.g', f'{tensor}, output', '(out.g*x).sum(0) => (out.g*out).sum(0)', dict(hidden=True)),
    ('mean over rows', 'c.g', '1/n, mean', 'out.g.sum(0) => out.g.mean(0)'))

layer('layernorm', 'book Module', '''
class LayerNorm(Module):
    def __init__(self, w, b, eps=1e-3): self.w,self.b,self.eps = w,b,eps
    def forward(self, x):
        mu,var = x.mean(-1, keepdim=True),x.var(-1, keepdim=True, unbiased=False)
        self.saved = (x - mu)/(var + self.eps).sqrt(),var
        return self.saved[0]*self.w + self.b
    def bwd(self, out, x):
        xh,var = self.saved
        g = out.g*self.w
        s = (var + self.eps).sqrt()
        x.g = (g - g.mean(-1, keepdim=True) - xh*(g*xh).mean(-1, keepdim=True))/s
        self.w.g = (out.g*xh).flatten(0, -2).sum(0)
        self.b.g = out.g.flatten(0, -2).sum(0)

def example(r): return LayerNorm(1 + .3*r(5), r(5)), .3*r(3,4,5)
''',
    ('mean term missing', 'x.g', f'{path}, mean term, centr, projection', 'g - g.mean(-1, keepdim=True) - xh => g - xh'),
    ('eps outside the root', 'x.g', f'eps, {factor}', '(var + self.eps).sqrt()\n        x.g => var.sqrt() + self.eps\n        x.g'),
    ('weight from the input', 'w.g', tensor, '(out.g*xh).flatten => (out.g*x).flatten'))

layer('elu', 'book Module', '''
class ELU(Module):
    def __init__(self, alpha=.7): self.alpha = alpha
    def forward(self, x): return torch.where(x > 0, x, self.alpha*(x.exp() - 1))
    def bwd(self, out, x):
        x.g = torch.where(x > 0, out.g, out.g*(out + self.alpha))

def example(r): return ELU(), r(6,5)
''',
    ('wrong where x is negative', 'x.g', f'{mask}, {deriv}', '(out + self.alpha) => (out + 1)'),
    ('wrong tensor in the mask', 'x.g', 'mask, condition', 'torch.where(x > 0, out.g => torch.where(out.g > 0, out.g'))

layer('embedding', 'book Module, integers', '''
class Embedding(Module):
    def __init__(self, w): self.w = w
    def forward(self, idx): return self.w[idx]
    def bwd(self, out, idx):
        self.w.g = torch.zeros_like(self.w)
        self.w.g.index_put_((idx,), out.g, accumulate=True)

def example(r): return Embedding(r(6,4)), torch.tensor([[1,3,3],[0,5,1]])
''',
    ('repeated indices overwritten', 'w.g', 'repeat, index, indices, duplicat, accumul, overwrit', 'accumulate=True => accumulate=False'),
    ('shifted by one', 'w.g', rows + ', shift, roll', '(idx,), out.g => (idx - 1,), out.g'))

layer('prenorm_residual', 'book Module, children', '''
class RMS(Module):
    def forward(self, x):
        self.saved = (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
        return x*self.saved
    def bwd(self, out, x):
        r = self.saved
        x.g = r*(out.g - out*(out.g*out).mean(-1, keepdim=True))

class Tanh(Module):
    def forward(self, x): return x.tanh()
    def bwd(self, out, x): x.g = out.g*(1 - out**2)

class Block(Module):
    def __init__(self, w1, b1, w2, b2):
        self.norm,self.up,self.act,self.down = RMS(),Linear(w1, b1),Tanh(),Linear(w2, b2)
    def forward(self, x): return x + self.down(self.act(self.up(self.norm(x))))
    def bwd(self, out, x):
        g = self.act.backward(self.down.backward(out.g))
        x.g = self.norm.backward(self.up.backward(g)) + out.g

def example(r): return Block(r(4,6), r(6), r(6,4), r(4)), r(5,4)
''',
    ('skip forgotten', 'x.g', f'{path}, skip, residual, identity', 'self.up.backward(g)) + out.g => self.up.backward(g))'),
    ('skip counted twice', 'x.g', 'twice, double, path, factor', 'self.up.backward(g)) + out.g => self.up.backward(g)) + 2*out.g'),
    ('squash has no slope', 'x.g up.w.g up.b.g', f'{deriv}', 'out.g*(1 - out**2) => out.g'),
    ('norm taken as a constant', 'x.g', path, 'r*(out.g - out*(out.g*out).mean(-1, keepdim=True)) => r*out.g'))

layer('highway', 'book Module, children', '''
class Sigmoid(Module):
    def forward(self, x): return x.sigmoid()
    def bwd(self, out, x): x.g = out.g*out*(1 - out)

class Highway(Module):
    def __init__(self, wh, bh, wt, bt): self.h,self.t,self.gate = Linear(wh, bh),Linear(wt, bt),Sigmoid()
    def forward(self, x):
        h,t = self.h(x),self.gate(self.t(x))
        self.saved = h,t
        return t*h + (1 - t)*x
    def bwd(self, out, x):
        h,t = self.saved
        gt = self.gate.backward(out.g*(h - x))
        x.g = self.h.backward(out.g*t) + self.t.backward(gt) + out.g*(1 - t)

def example(r): return Highway(r(4,4), r(4), r(4,4), r(4)), r(6,4)
''',
    ('carry of the gate forgotten', 'x.g t.w.g t.b.g', path, 'out.g*(h - x) => out.g*h'),
    ('gate and its complement swapped', 'x.g', f'swapped, {tensor}, {factor}, {path}', 'out.g*(1 - t) => out.g*t'))

layer('time_mean', 'book Module, an axis less', '''
class TimeMean(Module):
    def forward(self, x): return x.mean(1)
    def bwd(self, out, x): x.g = out.g[:,None].expand_as(x)/x.shape[1]

def example(r): return TimeMean(), r(6,4,3)
''',
    ('divided by the wrong length', 'x.g', factor, 'x.shape[1] => x.shape[0]'))

layer('running_batchnorm', 'book Module, state', '''
class BatchNorm(Module):
    buffer_names = 'mean','var'
    def __init__(self, w, b):
        self.w,self.b = w,b
        self.mean,self.var = torch.full_like(b, .5),torch.full_like(w, 3.)
    def forward(self, x):
        if self.training:
            mu,var = x.mean(0),x.var(0, unbiased=False)
            self.mean,self.var = .9*self.mean + .1*mu,.9*self.var + .1*var
        else: mu,var = self.mean,self.var
        inv = (var + 1e-5).rsqrt()
        xh = (x - mu)*inv
        self.saved = xh,inv
        return xh*self.w + self.b
    def bwd(self, out, x):
        xh,inv = self.saved
        self.w.g,self.b.g = (out.g*xh).sum(0),out.g.sum(0)
        g = out.g*self.w
        if self.training: g = g - g.mean(0) - xh*(g*xh).mean(0)
        x.g = g*inv

def example(r, shown=False):
    l = BatchNorm(1 + .5*r(3), r(3))
    return l.eval() if shown else l, r(7,3)
''',
    ('batch formula in eval mode', 'x.g', 'eval, mode, training', 'if self.training: g = g - => if True: g = g -', dict(hidden=True)),
    ('running variance in the gradient', 'x.g', f'{tensor}, {factor}, running', 'x.g = g*inv => x.g = g*(self.var + 1e-5).rsqrt()'))

layer('split_heads', 'book Module, an axis more', '''
class SplitHeads(Module):
    def __init__(self, h): self.h = h
    def forward(self, x):
        b,t,d = x.shape
        return x.view(b, t, self.h, d//self.h).transpose(1, 2)
    def bwd(self, out, x): x.g = out.g.transpose(1, 2).reshape(x.shape)

def example(r): return SplitHeads(2), r(3,5,4)
''',
    ('reshaped without the transpose', 'x.g', order, 'out.g.transpose(1, 2).reshape => out.g.reshape'))

# B. nn.Modules with a Function inside

layer('lora', 'nn.Module with Function', '''
class LoRAFunction(Function):
    @staticmethod
    def forward(ctx, x, W, A, B, scale):
        ctx.save_for_backward(x, W, A, B)
        ctx.scale = scale
        return x@W.T + scale*(x@A.T)@B.T
    @staticmethod
    def backward(ctx, dY):
        x,W,A,B = ctx.saved_tensors
        dH = ctx.scale*(dY@B)
        dA = dH.T@x
        dB = ctx.scale*dY.T@(x@A.T)
        return dY@W + dH@A, None, dA, dB, None

class LoRALinear(nn.Module):
    def __init__(self, W, A, B, alpha=4):
        super().__init__()
        self.weight = nn.Parameter(W, requires_grad=False)
        self.lora_A,self.lora_B = nn.Parameter(A),nn.Parameter(B)
        self.scale = alpha/len(A)
    def forward(self, x): return LoRAFunction.apply(x, self.weight, self.lora_A, self.lora_B, self.scale)

def example(r, shown=False): return LoRALinear(r(3,5), r(2,5), r(3,2) if shown else r.zeros(3,2)), r(6,5)
''',
    ('low-rank path forgotten, B is zero', 'x.g', path, 'return dY@W + dH@A, => return dY@W,', dict(hidden=True)),
    ('scale missing in B', 'lora_B.g', f'{factor}, scale', 'dB = ctx.scale*dY.T => dB = dY.T'),
    ('scale twice in A, B is zero', 'lora_A.g', f'{factor}, scale, twice', 'dA = dH.T@x => dA = ctx.scale*dH.T@x', dict(hidden=True)))

layer('swiglu', 'nn.Module with Function', '''
class SwiGLUFunction(Function):
    @staticmethod
    def forward(ctx, x, w1, w3):
        a,b = x@w1,x@w3
        ctx.save_for_backward(x, w1, w3, a, b)
        return a*torch.sigmoid(a)*b
    @staticmethod
    def backward(ctx, g):
        x,w1,w3,a,b = ctx.saved_tensors
        s = torch.sigmoid(a)
        da = g*b*(s + a*s*(1 - s))
        db = g*a*s
        dx = da@w1.T + db@w3.T
        return dx, x.transpose(0, 1)@da, x.transpose(0, 1)@db

class SwiGLU(nn.Module):
    def __init__(self, w1, w3):
        super().__init__()
        self.w1,self.w3 = nn.Parameter(w1),nn.Parameter(w3)
    def forward(self, x): return SwiGLUFunction.apply(x.flatten(0, 1), self.w1, self.w3).view(*x.shape[:2], -1)

def example(r): return SwiGLU(r(4,5), r(4,5)), r(2,3,4)
''',
    ('gate taken as a constant', 'x.g w1.g', path + f', {deriv}', 's + a*s*(1 - s) => s'),
    ('one of two uses of x', 'x.g', path, 'da@w1.T + db@w3.T => da@w1.T'),
    ('up projection gets the gate itself', 'x.g w3.g', f'{factor}, {tensor}, {path}, {deriv}', 'db = g*a*s => db = g*s'))

layer('rmsnorm', 'nn.Module with Function', '''
class RMSNormFunction(Function):
    @staticmethod
    def forward(ctx, x, weight, eps):
        rstd = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, rstd)
        return x*rstd*weight
    @staticmethod
    def backward(ctx, grad_output):
        x,weight,rstd = ctx.saved_tensors
        xhat = x*rstd
        wg = grad_output*weight
        c = (wg*xhat).mean(-1, keepdim=True)
        grad_weight = (grad_output*xhat).sum(dim=(0,1))
        return (wg - xhat*c)*rstd, grad_weight, None

class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight,self.eps = nn.Parameter(torch.ones(dim)),eps
    def forward(self, x): return RMSNormFunction.apply(x, self.weight, self.eps)

def example(r, shown=False):
    l = RMSNorm(6).to(r.dtype)
    if shown: l.weight.data = 1 + .5*r(6)
    return l, r(2,4,6)
''',
    ('weight missing in one of two places', 'x.g', f'{factor}, {tensor}, {path}',
        'c = (wg*xhat) => c = (grad_output*xhat)', dict(hidden=True)),
    ('weight missing', 'x.g', f'{factor}, {tensor}', 'wg = grad_output*weight => wg = grad_output', dict(hidden=True)),
    ('sum for mean', 'x.g', f'{factor}, mean, sum for',
        'mean(-1, keepdim=True)\n        grad_weight => sum(-1, keepdim=True)\n        grad_weight'))

layer('mish', 'nn.Module with Function', '''
class MishFunction(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x*torch.tanh(F.softplus(x))
    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0]
        t = torch.tanh(F.softplus(x))
        return g*(t + x*(1 - t*t)*torch.sigmoid(x))

class Mish(nn.Module):
    def forward(self, x): return MishFunction.apply(x)

def example(r): return Mish(), r(5,6)
''',
    ('softplus has no slope', 'x.g', f'{deriv}, {factor}, softplus, sigmoid', '(1 - t*t)*torch.sigmoid(x)) => (1 - t*t))'))

layer('fused_batchnorm', 'nn.Module with Function, state', '''
class BNFunction(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, training, momentum, eps):
        if training:
            mean,var = x.mean((0,2)),x.var((0,2), unbiased=False)
            n = x.numel()/x.shape[1]
            running_mean.mul_(1 - momentum).add_(momentum*mean)
            running_var.mul_(1 - momentum).add_(momentum*var*n/(n - 1))
        else: mean,var = running_mean.clone(),running_var.clone()
        inv = torch.rsqrt(var + eps)
        ctx.save_for_backward(x, weight, mean, inv)
        ctx.training = training
        return (x - mean[:,None])*(inv*weight)[:,None] + bias[:,None]
    @staticmethod
    def backward(ctx, g):
        x,weight,mean,inv = ctx.saved_tensors
        xhat = (x - mean[:,None])*inv[:,None]
        gw,gb = (g*xhat).sum((0,2)),g.sum((0,2))
        if ctx.training:
            n = x.shape[0]*x.shape[2]
            gx = (inv*weight)[:,None]*(g - gb[:,None]/n - xhat*gw[:,None]/n)
        else: gx = g*(inv*weight)[:,None]
        return gx, gw, gb, None, None, None, None, None

class FusedBN(nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.weight,self.bias = nn.Parameter(w),nn.Parameter(b)
        self.register_buffer('running_mean', torch.zeros_like(b))
        self.register_buffer('running_var', torch.full_like(w, 2.5))
    def forward(self, x):
        return BNFunction.apply(x, self.weight, self.bias, self.running_mean, self.running_var, self.training, .1, 1e-5)

def example(r, shown=False):
    l = FusedBN(1 + .3*r(3), r(3))
    return l.eval() if shown else l, r(4,3,5)
''',
    ('divided by rows only', 'x.g', f'{factor}, mean', 'n = x.shape[0]*x.shape[2] => n = x.shape[0]'),
    ('weight missing in eval mode', 'x.g', 'eval, mode, training', 'gx = g*(inv*weight)[:,None] => gx = g*inv[:,None]', dict(hidden=True)),
    ('first position left out', 'x.g weight.g', rows,
        'gw,gb = (g*xhat).sum((0,2)),g.sum((0,2)) => gw,gb = (g*xhat).sum((0,2)) - (g*xhat)[:,:,0].sum(0),g.sum((0,2))'))

# C. autograd Functions, old style

layer('linear_function', 'Function, old style, None', '''
class LinearFunction(Function):
    @staticmethod
    def forward(ctx, input, weight, bias=None):
        ctx.save_for_backward(input, weight, bias)
        output = input.mm(weight.t())
        return output if bias is None else output + bias
    @staticmethod
    def backward(ctx, grad_output):
        input,weight,bias = ctx.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]: grad_input = grad_output.mm(weight)
        if ctx.needs_input_grad[1]: grad_weight = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]: grad_bias = grad_output.sum(0)
        return grad_input, grad_weight, grad_bias

def example(r, shown=False):
    args = LinearFunction, r(6,4), r(3,4), r(3)
    return (args, dict(data='input')) if shown else args
''',
    ('weight asks for the need of the input', 'weight.g', 'none, no gradient, needs_input_grad',
        'if ctx.needs_input_grad[1]: => if ctx.needs_input_grad[0]:', dict(hidden=True)),
    ('bias from the weight', 'bias.g', f'{tensor}, {factor}', 'grad_bias = grad_output.sum(0) => grad_bias = grad_weight.sum(1)'))

layer('sort_function', 'Function, old style, several outputs', '''
class Sort(Function):
    @staticmethod
    def forward(ctx, x, descending=False):
        values,index = torch.sort(x, dim=-1, descending=descending)
        ctx.save_for_backward(index)
        ctx.mark_non_differentiable(index)
        return values, index
    @staticmethod
    def backward(ctx, g, _):
        index, = ctx.saved_tensors
        return torch.zeros_like(g).scatter(-1, index, g), None

def example(r): return Sort, r(5,6), True
''',
    ('gathered instead of scattered', 'x.g', f'{order}, gather, index, inverse',
        'torch.zeros_like(g).scatter(-1, index, g), None => g.gather(-1, index), None'))

layer('mean_std_function', 'Function, old style, several outputs', '''
class MeanStd(Function):
    @staticmethod
    def forward(ctx, x, dim):
        mean,std = x.mean(dim),x.std(dim, unbiased=True)
        ctx.save_for_backward(x, mean, std)
        ctx.dim = dim
        return mean, std
    @staticmethod
    def backward(ctx, gm, gs):
        x,mean,std = ctx.saved_tensors
        d,n = ctx.dim,x.shape[ctx.dim]
        dx = gm.unsqueeze(d)/n + (gs/std).unsqueeze(d)*(x - mean.unsqueeze(d))/(n - 1)
        return dx.expand_as(x), None

def example(r): return MeanStd, r(3,5,4), 1
''',
    ('n for n - 1', 'x.g', f'{factor}, n-1, n - 1, unbiased, bessel', '/(n - 1) => /n'),
    ('gradient of the mean forgotten', 'x.g', path + ', one of the outputs, second output, first output, ignored',
        'dx = gm.unsqueeze(d)/n + (gs => dx = (gs'),
    ('not centred', 'x.g', path + f', {tensor}, centr', '(x - mean.unsqueeze(d))/(n => x/(n'))

layer('cosine_function', 'Function, old style, once_differentiable', '''
class CosineSimilarity(Function):
    @staticmethod
    def forward(ctx, x, y):
        nx,ny = x.norm(dim=1, keepdim=True),y.norm(dim=1, keepdim=True)
        cos = (x*y).sum(1, keepdim=True)/(nx*ny)
        ctx.save_for_backward(x, y, nx, ny, cos)
        return cos[:,0]
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x,y,nx,ny,cos = ctx.saved_tensors
        g = g[:,None]
        gx = g*(y/(nx*ny) - cos*x/nx**2)
        gy = g*(x/(nx*ny) - cos*y/ny**2)
        return gx, gy

def example(r): return CosineSimilarity, r(5,4), r(5,4)
''',
    ('norm of the other vector', 'y.g', f'{tensor}, {factor}', 'cos*y/ny**2 => cos*y/nx**2'),
    ('norm taken as a constant', 'x.g', path, 'g*(y/(nx*ny) - cos*x/nx**2) => g*y/(nx*ny)'))

layer('relu_function', 'Function, old style', '''
class ReLUFunction(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)
    @staticmethod
    def backward(ctx, grad_output):
        x, = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[x < 0] = 0
        return grad_input

def example(r): return ReLUFunction, r(6,5)
''',
    ('the incoming gradient is damaged', 'kept', 'in place, in-place, incoming, changed, overwritten, kept, damage, modif',
        'grad_output.clone() => grad_output', dict(shows='kept')),
    ('mask of the other side', 'x.g', f'{mask}, invert', 'x < 0 => x > 0'))

layer('pow_function', 'Function, old style, non-tensor', '''
class Power(Function):
    @staticmethod
    def forward(ctx, x, p, scale):
        ctx.save_for_backward(x)
        ctx.p,ctx.scale = p,scale
        return scale*x.abs()**p
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g*ctx.scale*ctx.p*x.abs()**(ctx.p - 1)*x.sign(), None, None

def example(r): return Power, r(4,6), 2.5, .3
''',
    ('sign of x missing', 'x.g', 'sign, negative, abs', '(ctx.p - 1)*x.sign() => (ctx.p - 1)'))

# D. autograd Functions, new style

layer('huber_function', 'Function, new style, non-tensor', '''
class Huber(Function):
    @staticmethod
    def forward(pred, target, delta):
        d = (pred - target).abs()
        return torch.where(d <= delta, .5*d*d, delta*(d - .5*delta))
    @staticmethod
    def setup_context(ctx, inputs, output):
        pred,target,delta = inputs
        ctx.save_for_backward(pred, target)
        ctx.delta = delta
    @staticmethod
    def backward(ctx, g):
        pred,target = ctx.saved_tensors
        d = g*(pred - target).clamp(-ctx.delta, ctx.delta)
        return d, -d, None

def example(r): return Huber, r(6,4), r(6,4), 1.5
''',
    ('bound of one', 'pred.g target.g', f'{mask}, {factor}, bound', 'clamp(-ctx.delta, ctx.delta) => clamp(-1, 1)'),
    ('target has the same sign', 'target.g', 'sign', 'return d, -d, None => return d, d, None'))

layer('softmax_function', 'Function, new style, non-tensor', '''
class Softmax(Function):
    @staticmethod
    def forward(x, dim): return torch.softmax(x, dim)
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)
    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return y*(g - (g*y).sum(ctx.dim, keepdim=True)), None

def example(r): return Softmax, r(3,5,4), 1
''',
    ('summed over the last axis', 'x.g', 'axis, axes, dim, wrong tensor', 'sum(ctx.dim, keepdim => sum(-1, keepdim'))

layer('rope_function', 'Function, new style, None', '''
def rotate_half(x):
    a,b = x.chunk(2, dim=-1)
    return torch.cat([-b, a], dim=-1)

class RoPE(Function):
    @staticmethod
    def forward(q, k, cos, sin): return q*cos + rotate_half(q)*sin, k*cos + rotate_half(k)*sin
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.cos,ctx.sin = inputs[2:]
    @staticmethod
    def backward(ctx, gq, gk):
        dq = gq*ctx.cos - rotate_half(gq)*ctx.sin
        dk = gk*ctx.cos - rotate_half(gk)*ctx.sin
        return dq, dk, None, None

def example(r):
    angle = torch.arange(5)[:,None]*torch.tensor([1, .1])
    angle = torch.cat([angle, angle], 1).to(r.dtype)
    return (RoPE, r(2,5,4), r(2,5,4), angle.cos(), angle.sin()), dict(data=('cos', 'sin'))
''',
    ('rotated on', 'k.g', 'sign, transpos, inverse, rotat, sin', 'dk = gk*ctx.cos - rotate => dk = gk*ctx.cos + rotate'),
    ('key gets the gradient of the query', 'k.g', f'{tensor}, cotangent, of q', 'dk = gk*ctx.cos => dk = gq*ctx.cos'))

layer('quantise', 'Function, new style, surrogate', '''
class Quantise(Function):
    @staticmethod
    def forward(x, steps): return torch.round(x.clamp(-1, 1)*steps)/steps
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(inputs[0])
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g*(x.abs() <= 1), None

def example(r): return (Quantise, r(6,5), 4), dict(surrogate=lambda x, steps: x.clamp(-1, 1))
''',
    ('passes where it is clipped', 'x.g', mask, 'return g*(x.abs() <= 1), None => return g, None'))

layer('reverse', 'Function, new style, cotangent', '''
class Reverse(Function):
    @staticmethod
    def forward(x, lam): return x.view_as(x)
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.lam = inputs[1]
    @staticmethod
    def backward(ctx, g): return -ctx.lam*g, None

def example(r): return (Reverse, r(6,4), .5), dict(cotangent=lambda g: -.5*g)
''',
    ('strength forgotten', 'x.g', factor, 'return -ctx.lam*g, None => return -g, None'))

layer('topk_function', 'Function, new style, several outputs', '''
class TopK(Function):
    @staticmethod
    def forward(x, k): return tuple(x.topk(k, dim=1))
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.shape = inputs[0].shape
    @staticmethod
    def backward(ctx, g, _):
        index, = ctx.saved_tensors
        return g.new_zeros(ctx.shape).scatter_(1, index, g), None

def example(r): return TopK, r(5,7), 3
''',
    ('best one only', 'x.g', f'{rows}, index', 'scatter_(1, index, g), None => scatter_(1, index[:,:1], g[:,:1]), None'))

# E. functions and their backward in torch

layer('log_softmax', 'f, f_backward in torch', '''
def log_softmax(x):
    x = x - x.max(-1, keepdim=True).values
    return x - x.exp().sum(-1, keepdim=True).log()

def log_softmax_backward(g, out): return g - out.exp()*g.sum(-1, keepdim=True)

def example(r): return (log_softmax, log_softmax_backward), r(5,4)
''',
    ('sum over the row missing', 'x.g', 'sum over, sum is, cross, diagonal, path, overwritten, term',
        'g - out.exp()*g.sum(-1, keepdim=True) => g - out.exp()*g'),
    back='L[1](g, out)')

layer('cross_entropy', 'f, f_backward in torch, labels', '''
def cross_entropy(logits, target, smoothing=.1, ignore_index=-100):
    keep = target != ignore_index
    logp = logits.log_softmax(-1)[keep]
    nll = -logp.gather(1, target[keep][:,None])[:,0]
    return ((1 - smoothing)*nll - smoothing*logp.mean(-1)).sum()/keep.sum()

def cross_entropy_backward(g, logits, target, smoothing=.1, ignore_index=-100):
    keep = target != ignore_index
    want = torch.full_like(logits, smoothing/logits.shape[1])
    rows = keep.nonzero()[:,0]
    want[rows,target[rows]] += 1 - smoothing
    d = (logits.softmax(-1) - want)*g/keep.sum()
    d[~keep] = 0
    return d

def example(r): return (cross_entropy, cross_entropy_backward), r(6,5), torch.tensor([2,0,-100,4,1,-100])
''',
    ('mean over all rows', 'logits.g', factor, 'want)*g/keep.sum() => want)*g/len(target)'),
    ('ignored rows get a gradient', 'logits.g', f'{rows}, ignore, {mask}', '    d[~keep] = 0\n    return d =>     return d'),
    ('smoothing forgotten', 'logits.g', f'smooth, {path}',
        'torch.full_like(logits, smoothing/logits.shape[1]) => torch.zeros_like(logits)'),
    back='L[1](g, *ins)')

layer('kl_div', 'f, f_backward in torch', '''
def kl(a, b):
    "KL(softmax(a) || softmax(b)), mean over rows"
    la,lb = a.log_softmax(-1),b.log_softmax(-1)
    return (la.exp()*(la - lb)).sum()/len(a)

def kl_backward(g, a, b):
    la,lb = a.log_softmax(-1),b.log_softmax(-1)
    p,q = la.exp(),lb.exp()
    c = (p*(la - lb)).sum(-1, keepdim=True)
    return g*p*(la - lb - c)/len(a), g*(q - p)/len(a)

def example(r): return (kl, kl_backward), r(5,4), r(5,4)
''',
    ('normaliser taken as a constant', 'a.g', f'{path}, cross', 'p*(la - lb - c) => p*(la - lb)'),
    ('target and model swapped', 'b.g', 'sign', '(q - p) => (p - q)'),
    back='L[1](g, *ins)')

layer('channel_gain', 'f, f_backward in torch', '''
def gain(x, w): return x*w

def gain_backward(g, x, w): return g*w, (g*x).sum((0,2), keepdim=True)

def example(r): return (gain, gain_backward), r(3,4,5), r(1,4,1)
''',
    ('sum over space missing', 'w.g', 'sum, shape, broadcast', '(g*x).sum((0,2), keepdim=True) => (g*x).sum(0, keepdim=True)'),
    back='L[1](g, *ins)')

layer('einsum_scores', 'f, f_backward in torch', '''
def scores(q, k): return torch.einsum('bqhd,bkhd->bhqk', q, k)/math.sqrt(q.shape[-1])

def scores_backward(g, q, k):
    s = 1/math.sqrt(q.shape[-1])
    return s*torch.einsum('bhqk,bkhd->bqhd', g, k), s*torch.einsum('bhqk,bqhd->bkhd', g, q)

def example(r): return (scores, scores_backward), r(2,4,2,3), r(2,4,2,3)
''',
    ('scale missing in one', 'k.g', f'{factor}, scale', 's*torch.einsum(\'bhqk,bqhd->bkhd\' => torch.einsum(\'bhqk,bqhd->bkhd\''),
    ('queries and keys swapped in the sum', 'k.g', f'{order}, swap', 'bhqk,bqhd->bkhd => bhkq,bqhd->bkhd'),
    back='L[1](g, *ins)')

layer('bilinear_sample', 'f, f_backward in torch', '''
def sample(img, pts):
    "img (h,w) at points (n,2) of rows and columns -> (n,)"
    i,j = pts.floor().long().unbind(1)
    u,v = (pts - pts.floor()).unbind(1)
    return (img[i,j]*(1 - u)*(1 - v) + img[i,j+1]*(1 - u)*v + img[i+1,j]*u*(1 - v) + img[i+1,j+1]*u*v)

def sample_backward(g, img, pts):
    i,j = pts.floor().long().unbind(1)
    u,v = (pts - pts.floor()).unbind(1)
    d = torch.zeros_like(img)
    d.index_put_((i, j), g*(1 - u)*(1 - v), accumulate=True)
    d.index_put_((i, j + 1), g*(1 - u)*v, accumulate=True)
    d.index_put_((i + 1, j), g*u*(1 - v), accumulate=True)
    d.index_put_((i + 1, j + 1), g*u*v, accumulate=True)
    du = (img[i+1,j] - img[i,j])*(1 - v) + (img[i+1,j+1] - img[i,j+1])*v
    dv = (img[i,j+1] - img[i,j])*(1 - u) + (img[i+1,j+1] - img[i+1,j])*u
    return d, torch.stack([g*du, g*dv], 1)

def example(r):
    pts = torch.stack([r.u(12)*3, r.u(12)*4], 1)
    pts[1] = pts[0] + (.5 - pts[0].frac())*.1   # two points of one cell
    return (sample, sample_backward), r(4,5), pts
''',
    ('repeated corner overwritten', 'img.g', f'overwrit, repeat, index, indices, duplicat, accumul',
        'd.index_put_((i + 1, j + 1), g*u*v, accumulate=True) => d[i + 1, j + 1] = g*u*v'),
    ('coordinates swapped', 'pts.g', f'{order}, column, swap, flip', '[g*du, g*dv] => [g*dv, g*du]'),
    ('weights of the other axis', 'pts.g', f'{tensor}, swap, {factor}',
        '*(1 - v) + (img[i+1,j+1] - img[i,j+1])*v => *(1 - u) + (img[i+1,j+1] - img[i,j+1])*u'),
    back='L[1](g, *ins)')

layer('scatter_mean', 'f, f_backward in torch, integers', '''
def scatter_mean(x, idx):
    n = torch.bincount(idx, minlength=4).clamp(min=1).to(x)
    return torch.zeros(4, x.shape[1], dtype=x.dtype).index_add(0, idx, x)/n[:,None]

def scatter_mean_backward(g, x, idx):
    n = torch.bincount(idx, minlength=4).clamp(min=1).to(x)
    return (g/n[:,None])[idx]

def example(r): return (scatter_mean, scatter_mean_backward), r(7,3), torch.tensor([0,2,2,3,0,2,1])
''',
    ('counts forgotten', 'x.g', f'{factor}, count, mean', '(g/n[:,None])[idx] => g[idx]'),
    back='L[1](g, *ins)')

layer('tied_lm', 'f, f_backward in torch, integers', '''
def lm(E, A, idx):
    "Embed, mix, and score with the embedding again"
    return (E[idx]@A).tanh()@E.T

def lm_backward(g, E, A, idx):
    e = E[idx]
    h = (e@A).tanh()
    dh = (g@E)*(1 - h*h)
    dE = torch.einsum('btv,btd->vd', g, h)
    dE.index_put_((idx,), dh@A.T, accumulate=True)
    return dE, torch.einsum('btd,bte->de', e, dh)

def example(r): return (lm, lm_backward), r(6,3), r(3,3), torch.tensor([[1,4,0],[4,2,2]])
''',
    ('second use overwrites the first', 'E.g', f'{path}, overwrit, repeat, index, accumul',
        'dE.index_put_((idx,), dh@A.T, accumulate=True) => dE[idx] = dh@A.T'),
    ('use as embedding forgotten', 'E.g', path, '    dE.index_put_((idx,), dh@A.T, accumulate=True)\n =>     pass\n'),
    back='L[1](g, *ins)', names='E A')

layer('logsumexp', 'f, f_backward in torch', '''
def logsumexp(x):
    m = x.max(1, keepdim=True).values
    return m[:,0] + (x - m).exp().sum(1).log()

def logsumexp_backward(g, x, out): return g[:,None]*(x - out[:,None]).exp()

def example(r): return (logsumexp, logsumexp_backward), 95 + 4*r(5,4)
''',
    ('overflow in float32', 'x.g', 'float32, overflow, nan, inf, finite',
        'g[:,None]*(x - out[:,None]).exp() => g[:,None]*x.exp()/x.exp().sum(1, keepdim=True)', dict(shows='float32')),
    back='L[1](g, ins[0], out)')

layer('standardise', 'f, f_backward in torch', '''
def standardise(x):
    s = x.std(0, unbiased=False)
    return (x - x.mean(0))/s

def standardise_backward(g, x, out):
    s = ((x - x.mean(0))**2).mean(0).sqrt()
    return (g - g.mean(0) - out*(g*out).mean(0))/s

def example(r): return (standardise, standardise_backward), 1000 + r(8,3)
''',
    ('cancellation in float32', 'x.g', 'float32, cancel, round, precision',
        '((x - x.mean(0))**2).mean(0).sqrt() => ((x**2).mean(0) - x.mean(0)**2).sqrt()', dict(shows='float32')),
    back='L[1](g, ins[0], out)')

# F. functions and their backward in NumPy

layer('np_gelu', 'f, f_backward in NumPy', '''
C = np.sqrt(2/np.pi)
def gelu(x): return .5*x*(1 + np.tanh(C*(x + .044715*x**3)))

def gelu_backward(dout, x):
    t = np.tanh(C*(x + .044715*x**3))
    return dout*(.5*(1 + t) + .5*x*(1 - t**2)*C*(1 + 3*.044715*x**2))

def example(r): return (gelu, gelu_backward), r.np(5,6)
''',
    ('power loses its 3', 'x.g', f'{factor}, {deriv}, power, square', '1 + 3*.044715*x**2 => 1 + .044715*x**2'),
    ('half for the whole', 'x.g', f'{factor}, {path}', 'dout*(.5*(1 + t) => dout*((1 + t)'),
    back='L[1](g, *ins)')

layer('np_returns', 'f, f_backward in NumPy', '''
def returns(r, gamma=.9):
    "Discounted sums of what is still to come, along axis 1"
    out = np.zeros_like(r)
    acc = np.zeros(len(r))
    for t in reversed(range(r.shape[1])):
        acc = r[:,t] + gamma*acc
        out[:,t] = acc
    return out

def returns_backward(dout, r, gamma=.9):
    dr = np.zeros_like(r)
    acc = np.zeros(len(r))
    for t in range(r.shape[1]):
        acc = dout[:,t] + gamma*acc
        dr[:,t] = acc
    return dr

def example(r): return (returns, returns_backward), r.np(4,6)
''',
    ('last step left out', 'r.g', rows, 'for t in range(r.shape[1]): => for t in range(r.shape[1] - 1):'),
    ('runs in the direction of the forward', 'r.g', f'{order}, direction',
        'for t in range(r.shape[1]): => for t in range(r.shape[1])[::-1]:'),
    back='L[1](g, *ins)')

layer('np_triplet', 'f, f_backward in NumPy, loss', '''
def triplet_loss(a, p, n, margin=1.):
    d = ((a - p)**2).sum(1) - ((a - n)**2).sum(1) + margin
    return np.maximum(d, 0).mean()

def triplet_loss_backward(a, p, n, margin=1.):
    d = ((a - p)**2).sum(1) - ((a - n)**2).sum(1) + margin
    active = (d > 0)[:,None]/len(a)
    return active*2*(n - p), active*2*(p - a), active*2*(a - n)

def example(r): return (triplet_loss, triplet_loss_backward), r.np(6,3), r.np(6,3), r.np(6,3)
''',
    ('satisfied triplets pull as well', 'a.g p.g n.g', f'{mask}, {rows}', '(d > 0)[:,None]/len(a) => np.full((len(a), 1), 1/len(a))'),
    ('negative is pulled', 'n.g', 'sign', 'active*2*(a - n) => active*2*(n - a)'),
    back='L[1](*ins)')

layer('np_conv1d', 'f, f_backward in NumPy, loops', '''
def conv1d(x, w, b):
    "x (n,c,l), w (k,c,s), b (k,) -> (n,k,l-s+1)"
    s = w.shape[2]
    out = np.zeros((len(x), len(w), x.shape[2] - s + 1))
    for i in range(out.shape[2]): out[:,:,i] = np.tensordot(x[:,:,i:i+s], w, ((1,2),(1,2))) + b
    return out

def conv1d_backward(dout, x, w, b):
    dx,dw,s = np.zeros_like(x),np.zeros_like(w),w.shape[2]
    for i in range(dout.shape[2]):
        dx[:,:,i:i+s] += np.tensordot(dout[:,:,i], w, (1,0))
        dw += np.tensordot(dout[:,:,i], x[:,:,i:i+s], (0,0))
    return dx, dw, dout.sum((0,2))

def example(r): return (conv1d, conv1d_backward), r.np(3,2,7), r.np(4,2,3), r.np(4)
''',
    ('windows overwrite one another', 'x.g', f'overwrit, accumul, overlap, {rows}',
        '] += np.tensordot(dout[:,:,i], w, (1,0)) => ] = np.tensordot(dout[:,:,i], w, (1,0))'),
    ('last window left out', 'x.g w.g', rows, 'for i in range(dout.shape[2]): => for i in range(dout.shape[2] - 1):'),
    ('kernel flipped', 'x.g', f'{order}, mirror',
        'dx[:,:,i:i+s] += np.tensordot(dout[:,:,i], w, (1,0)) => dx[:,:,i:i+s] += np.tensordot(dout[:,:,i], w[:,:,::-1], (1,0))'),
    back='L[1](g, *ins)')

layer('np_softmax_temperature', 'f, f_backward in NumPy', '''
def softmax(z, T=2.5):
    e = np.exp((z - z.max(1, keepdims=True))/T)
    return e/e.sum(1, keepdims=True)

def softmax_backward(dout, z, T=2.5):
    p = softmax(z, T)
    return p*(dout - (dout*p).sum(1, keepdims=True))/T

def example(r): return (softmax, softmax_backward), r.np(5,4)
''',
    ('temperature forgotten', 'z.g', factor, '.sum(1, keepdims=True))/T => .sum(1, keepdims=True))'),
    back='L[1](g, *ins)')

# G. (out, cache), and backward(dout, cache), in NumPy

layer('affine_cache', '(out, cache), tuple', '''
def affine_forward(x, w, b):
    out = x.reshape(len(x), -1)@w + b
    return out, (x, w, b)

def affine_backward(dout, cache):
    x,w,b = cache
    dx = (dout@w.T).reshape(x.shape)
    dw = x.reshape(len(x), -1).T@dout
    db = dout.sum(axis=0)
    return dx, dw, db

def example(r): return (affine_forward, affine_backward), r.np(5,2,3), r.np(6,4), r.np(4)
''',
    ('weight transposed', 'w.g', 'transpos, shape', 'x.reshape(len(x), -1).T@dout => dout.T@x.reshape(len(x), -1)'),
    ('reshaped in Fortran order', 'x.g', order, '(dout@w.T).reshape(x.shape) => (dout@w.T).reshape(x.shape, order="F")'),
    ('largest row only', 'b.g', f'{rows}, max', 'dout.sum(axis=0) => dout.max(axis=0)'),
    cache=True)

layer('batchnorm_cache', '(out, cache), tuple, state', '''
def batchnorm_forward(x, gamma, beta, bn_param):
    eps,momentum = bn_param.get('eps', 1e-5),bn_param.get('momentum', .9)
    if bn_param['mode'] == 'train':
        mu,var = x.mean(axis=0),x.var(axis=0)
        bn_param['running_mean'] = momentum*bn_param['running_mean'] + (1 - momentum)*mu
        bn_param['running_var'] = momentum*bn_param['running_var'] + (1 - momentum)*var
    else: mu,var = bn_param['running_mean'],bn_param['running_var']
    xhat = (x - mu)/np.sqrt(var + eps)
    return gamma*xhat + beta, (x, xhat, mu, var, gamma, eps)

def batchnorm_backward(dout, cache):
    x,xhat,mu,var,gamma,eps = cache
    N = len(x)
    dxhat = dout*gamma
    dvar = (dxhat*(x - mu)*-.5*(var + eps)**-1.5).sum(axis=0)
    dmu = (-dxhat/np.sqrt(var + eps)).sum(axis=0)
    dx = dxhat/np.sqrt(var + eps) + dvar*2*(x - mu)/N + dmu/N
    dgamma = (dout*xhat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    return dx, dgamma, dbeta

def example(r):
    param = dict(mode='train', running_mean=np.zeros(3), running_var=np.ones(3))
    return ((batchnorm_forward, batchnorm_backward), 2*r.np(7,3), 1 + .3*r.np(3), r.np(3), param), dict(data='bn_param')
''',
    ('power of the variance', 'x.g', f'power, exponent, {factor}, {deriv}, {path}', '(var + eps)**-1.5 => (var + eps)**-.5'),
    ('gradient of the gain from x', 'gamma.g', tensor, 'dgamma = (dout*xhat) => dgamma = (dout*x)'),
    ('square loses its 2', 'x.g', f'{factor}, {path}, {deriv}, half, square', 'dvar*2*(x - mu)/N => dvar*(x - mu)/N'),
    cache=True, names='x gamma beta')

layer('conv_im2col', '(out, cache), tuple', '''
def im2col(x, h, w, stride):
    n,c,H,W = x.shape
    oh,ow = (H - h)//stride + 1,(W - w)//stride + 1
    col = np.empty((n, c, h, w, oh, ow))
    for i in range(h):
        for j in range(w): col[:,:,i,j] = x[:,:,i:i+stride*oh:stride,j:j+stride*ow:stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(n*oh*ow, -1)

def col2im(col, shape, h, w, stride):
    n,c,H,W = shape
    oh,ow = (H - h)//stride + 1,(W - w)//stride + 1
    col = col.reshape(n, oh, ow, c, h, w).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros(shape)
    for i in range(h):
        for j in range(w): x[:,:,i:i+stride*oh:stride,j:j+stride*ow:stride] += col[:,:,i,j]
    return x

def conv_forward(x, w, b, stride=1, pad=1):
    f,c,h,wd = w.shape
    xp = np.pad(x, ((0,0), (0,0), (pad,pad), (pad,pad)))
    col = im2col(xp, h, wd, stride)
    oh,ow = (xp.shape[2] - h)//stride + 1,(xp.shape[3] - wd)//stride + 1
    out = (col@w.reshape(f, -1).T + b).reshape(len(x), oh, ow, f).transpose(0, 3, 1, 2)
    return out, (col, xp.shape, w, stride, pad)

def conv_backward(dout, cache):
    col,shape,w,stride,pad = cache
    f,c,h,wd = w.shape
    d = dout.transpose(0, 2, 3, 1).reshape(-1, f)
    dw = (d.T@col).reshape(w.shape)
    dxp = col2im(d@w.reshape(f, -1), shape, h, wd, stride)
    return dxp[:,:,pad:-pad,pad:-pad], dw, d.sum(axis=0)

def example(r): return (conv_forward, conv_backward), r.np(2,2,4,5), r.np(3,2,3,3), r.np(3)
''',
    ('overlaps overwritten', 'x.g', f'overwrit, accumul, overlap', ':stride] += col[:,:,i,j] => :stride] = col[:,:,i,j]'),
    ('padding cut off at one side', 'x.g', 'shift, pad, roll, off by one, offset, crop, moved',
        'dxp[:,:,pad:-pad,pad:-pad] => dxp[:,:,:-2*pad,pad:-pad]'),
    ('channels not moved to the end', 'x.g w.g b.g', order, 'dout.transpose(0, 2, 3, 1).reshape(-1, f) => dout.reshape(-1, f)'),
    cache=True)

layer('maxpool_cache', '(out, cache), tuple', '''
def max_pool_forward(x, size=3, stride=2):
    n,c,H,W = x.shape
    oh,ow = (H - size)//stride + 1,(W - size)//stride + 1
    out = np.zeros((n, c, oh, ow))
    for i in range(oh):
        for j in range(ow):
            out[:,:,i,j] = x[:,:,i*stride:i*stride+size,j*stride:j*stride+size].max(axis=(2,3))
    return out, (x, size, stride)

def max_pool_backward(dout, cache):
    x,size,stride = cache
    dx = np.zeros_like(x)
    n,c,oh,ow = dout.shape
    for k in range(n):
        for l in range(c):
            for i in range(oh):
                for j in range(ow):
                    window = x[k,l,i*stride:i*stride+size,j*stride:j*stride+size]
                    a,b = np.unravel_index(window.argmax(), window.shape)
                    dx[k,l,i*stride+a,j*stride+b] += dout[k,l,i,j]
    return dx

def example(r):
    x = r.np(2,2,5,5)
    x[0,0,2,2] = x[1,1,2,2] = 4.   # the largest of all four windows
    return (max_pool_forward, max_pool_backward), x
''',
    ('overlaps overwritten', 'x.g', f'overwrit, accumul, overlap, repeat', '+= dout[k,l,i,j] => = dout[k,l,i,j]'),
    ('stride forgotten', 'x.g', f'{order}, stride, index, shift', 'dx[k,l,i*stride+a,j*stride+b] => dx[k,l,i+a,j+b]'),
    cache=True)

layer('rnn_cache', '(out, cache), dict', '''
def rnn_forward(x, h0, Wx, Wh, b):
    "x (n,t,d) -> all states (n,t,h)"
    hs,h = [],h0
    for t in range(x.shape[1]):
        h = np.tanh(x[:,t]@Wx + h@Wh + b)
        hs.append(h)
    return np.stack(hs, 1), dict(x=x, h0=h0, Wx=Wx, Wh=Wh, hs=hs)

def rnn_backward(dhs, cache):
    x,h0,Wx,Wh,hs = (cache[k] for k in ('x','h0','Wx','Wh','hs'))
    dx,dWx,dWh,db = np.zeros_like(x),np.zeros_like(Wx),np.zeros_like(Wh),np.zeros(Wx.shape[1])
    dh = np.zeros_like(h0)
    for t in reversed(range(x.shape[1])):
        prev = hs[t-1] if t > 0 else h0
        dz = (dhs[:,t] + dh)*(1 - hs[t]**2)
        dx[:,t] = dz@Wx.T
        dWx += x[:,t].T@dz
        dWh += prev.T@dz
        db += dz.sum(axis=0)
        dh = dz@Wh.T
    return {'dx': dx, 'dh0': dh, 'dWx': dWx, 'dWh': dWh, 'db': db}

def example(r): return (rnn_forward, rnn_backward), r.np(3,4,2), r.np(3,3), r.np(2,3), r.np(3,3), r.np(3)
''',
    ('nothing flows through time', 'x.g h0.g Wx.g Wh.g b.g', path + ', through time, recurr', '(dhs[:,t] + dh)*(1 => (dhs[:,t])*(1'),
    ('bias of the first step only', 'b.g', f'overwrit, {rows}, accumul', 'db += dz.sum(axis=0) => db = dz.sum(axis=0)'),
    ('recurrent weight from the new state', 'Wh.g', f'{tensor}, output, state', 'dWh += prev.T@dz => dWh += hs[t].T@dz'),
    cache=True)

layer('lstm_cache', '(out, cache), dict', '''
def sigmoid(x): return 1/(1 + np.exp(-x))

def lstm_forward(x, h, c, W, U, b):
    "x (n,t,d), h and c (n,k), W (d,4k), U (k,4k), b (4k,) -> (n,t,k); gates in the order i, f, o, g"
    k,hs,caches = h.shape[1],[],[]
    for t in range(x.shape[1]):
        z = x[:,t]@W + h@U + b
        i,f,o,g = sigmoid(z[:,:k]),sigmoid(z[:,k:2*k]),sigmoid(z[:,2*k:3*k]),np.tanh(z[:,3*k:])
        caches.append(dict(x=x[:,t], h=h, c=c, i=i, f=f, o=o, g=g))
        c = f*c + i*g
        h = o*np.tanh(c)
        caches[-1]['new'] = c
        hs.append(h)
    return np.stack(hs, 1), dict(steps=caches, W=W, U=U)

def lstm_backward(dhs, cache):
    W,U,steps = cache['W'],cache['U'],cache['steps']
    dW,dU,db,dxs = np.zeros_like(W),np.zeros_like(U),np.zeros(W.shape[1]),[]
    dh,dc = np.zeros_like(steps[0]['h']),np.zeros_like(steps[0]['c'])
    for t in reversed(range(len(steps))):
        s = steps[t]
        i,f,o,g = s['i'],s['f'],s['o'],s['g']
        tc = np.tanh(s['new'])
        dh = dh + dhs[:,t]
        do = dh*tc*o*(1 - o)
        dc = dc + dh*o*(1 - tc**2)
        di = dc*g*i*(1 - i)
        df = dc*s['c']*f*(1 - f)
        dg = dc*i*(1 - g**2)
        dz = np.concatenate([di, df, do, dg], 1)
        dW += s['x'].T@dz
        dU += s['h'].T@dz
        db += dz.sum(0)
        dxs.append(dz@W.T)
        dh,dc = dz@U.T,dc*f
    return dict(dx=np.stack(dxs[::-1], 1), dh=dh, dc=dc, dW=dW, dU=dU, db=db)

def example(r): return (lstm_forward, lstm_backward), r.np(2,3,2), r.np(2,3), r.np(2,3), r.np(2,12), r.np(3,12), r.np(12)
''',
    ('slope of the forget gate from the input gate', 'x.g h.g c.g W.g U.g b.g', f'{deriv}, {tensor}, gate',
        "s['c']*f*(1 - f) => s['c']*i*(1 - i)"),
    ('new cell for the old', 'x.g h.g c.g W.g U.g b.g', f'{tensor}, gate', "df = dc*s['c'] => df = dc*s['new']"),
    ('forget gate missing on the way back', 'x.g h.g c.g W.g U.g b.g', f'{factor}, {path}, {deriv}', 'dz@U.T,dc*f => dz@U.T,dc'),
    ('gates in another order', 'x.g h.g c.g W.g U.g b.g', f'{order}, swap, gate',
        'np.concatenate([di, df, do, dg], 1) => np.concatenate([di, df, dg, do], 1)'),
    ('cell state is not carried', 'x.g h.g c.g W.g U.g b.g', path, 'dc = dc + dh*o*(1 - tc**2) => dc = dh*o*(1 - tc**2)'),
    ('inputs in reversed time', 'x.g', order, 'np.stack(dxs[::-1], 1) => np.stack(dxs, 1)'),
    cache=True)

layer('dropout_cache', '(out, cache), dict, generator', '''
def dropout_forward(x, keep=.7, seed=11):
    rng = np.random.default_rng(seed)
    mask = rng.random(x.shape) < keep
    return x*mask/keep, dict(mask=mask, keep=keep)

def dropout_backward(dout, cache): return dict(dx=dout*cache['mask']/cache['keep'])

def example(r): return (dropout_forward, dropout_backward), r.np(6,5)
''',
    ('not scaled up', 'x.g', factor, "cache['mask']/cache['keep']) => cache['mask'])"),
    ('mask missing', 'x.g', f'{mask}, random, factor missing', "dout*cache['mask']/cache => dout/cache"),
    cache=True)

layer('glu_cache', '(out, cache), tuple', '''
def glu_forward(x):
    a,b = np.split(x, 2, axis=-1)
    s = 1/(1 + np.exp(-b))
    return a*s, (a, s)

def glu_backward(dout, cache):
    a,s = cache
    da = dout*s
    db = dout*a*s*(1 - s)
    return np.concatenate([da, db], axis=-1)

def example(r): return (glu_forward, glu_backward), r.np(4,6)
''',
    ('halves swapped', 'x.g', f'{order}, swap, roll, shift, halves', '[da, db] => [db, da]'),
    ('sigmoid has no slope', 'x.g', deriv, 'dout*a*s*(1 - s) => dout*a*s'),
    cache=True)

# H. classes with forward(x) and backward(dout)

layer('dense_decay', 'class, self.dW', '''
class Dense:
    def __init__(self, W, b, reg=.01): self.W,self.b,self.reg = W,b,reg
    def forward(self, x):
        self.x = x
        return x@self.W + self.b
    def backward(self, dout):
        self.dW = self.x.T@dout
        self.db = dout.sum(axis=0)
        return dout@self.W.T

def example(r, shown=False): return Dense(r.np(5,3), np.zeros(3)), r.np(1 if shown else 7,5)
''',
    ('weight decay in the gradient', 'W.g', 'decay, regular, is added, is taken off', 'self.x.T@dout => self.x.T@dout + self.reg*self.W'),
    ('squeezed, one row only', 'b.g', 'one row, single row, batch of one, shape, squeez',
        'dout.sum(axis=0) => dout.squeeze().sum(axis=0)', dict(hidden=True)),
    ('last row forgotten', 'W.g', rows, 'self.x.T@dout => self.x[:-1].T@dout[:-1]'),
    ('first input kept', 'W.g', again, 'self.x = x\n => if not hasattr(self, "x"): self.x = x\n', dict(shows='again')),
    par='W: L.W ~ L.dW, b: L.b ~ L.db', back='L.backward(g)')

layer('dense_dweights', 'class, self.dweights', '''
class LayerDense:
    def __init__(self, weights):
        self.weights = weights
        self.biases = np.zeros((1, weights.shape[1]))
    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs@self.weights + self.biases
        return self.output
    def backward(self, dvalues):
        self.dweights = self.inputs.T@dvalues
        self.dbiases = dvalues.sum(axis=0, keepdims=True)
        self.dinputs = dvalues@self.weights.T

def example(r): return LayerDense(.5*r.np(4,3)), r.np(6,4)
''',
    ('divided by the batch', 'weights.g', '1/n', 'self.inputs.T@dvalues => self.inputs.T@dvalues/len(dvalues)'),
    ('bias counts signs', 'biases.g', 'sign, cotangent',
        'dvalues.sum(axis=0, keepdims=True) => np.sign(dvalues).sum(axis=0, keepdims=True)'),
    par='weights: L.weights ~ L.dweights, biases: L.biases ~ L.dbiases', back='(L.backward(g), L.dinputs)[1]')

layer('activation_relu', 'class, self.dinputs', '''
class ActivationReLU:
    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.maximum(0, inputs)
        return self.output
    def backward(self, dvalues):
        self.dinputs = dvalues.copy()
        self.dinputs[self.inputs <= 0] = 0

def example(r): return ActivationReLU(), r.np(6,5)
''',
    ('mask that never holds', 'inputs.g', mask, 'self.inputs <= 0 => self.output < 0'),
    ('mask from the gradient', 'inputs.g', mask, 'self.inputs <= 0 => dvalues <= 0'),
    back='(L.backward(g), L.dinputs)[1]')

layer('activation_softmax', 'class, self.dinputs, loop', '''
class ActivationSoftmax:
    def forward(self, inputs):
        e = np.exp(inputs - inputs.max(axis=1, keepdims=True))
        self.output = e/e.sum(axis=1, keepdims=True)
        return self.output
    def backward(self, dvalues):
        self.dinputs = np.empty_like(dvalues)
        for i,(p,d) in enumerate(zip(self.output, dvalues)):
            jacobian = np.diag(p) - np.outer(p, p)
            self.dinputs[i] = jacobian@d

def example(r): return ActivationSoftmax(), r.np(5,4)
''',
    ('dot for outer', 'inputs.g', f'{path}, cross, diagonal, outer', 'np.outer(p, p) => np.dot(p, p)'),
    ('diagonal alone', 'inputs.g', f'{path}, cross, diagonal', 'np.diag(p) - np.outer(p, p) => np.diag(p) - np.diag(p*p)'),
    back='(L.backward(g), L.dinputs)[1]')

layer('affine_params_dict', "class, self.grads['W']", '''
class TwoLayer:
    def __init__(self, W1, b1, W2, b2):
        self.params = {'W1': W1, 'b1': b1, 'W2': W2, 'b2': b2}
        self.grads = {}
    def forward(self, x):
        p = self.params
        self.x = x
        self.a = x@p['W1'] + p['b1']
        self.h = np.maximum(self.a, .1*self.a)
        return self.h@p['W2'] + p['b2']
    def backward(self, dout):
        p,g = self.params,self.grads
        g['W2'] = self.h.T@dout
        g['b2'] = dout.sum(axis=0)
        dh = dout@p['W2'].T
        da = dh*np.where(self.a > 0, 1, .1)
        g['W1'] = self.x.T@da
        g['b1'] = da.sum(axis=0)
        return da@p['W1'].T

def example(r): return TwoLayer(r.np(4,5), r.np(5), r.np(5,3), r.np(3)), r.np(6,4)
''',
    ('bias summed over everything', 'b2.g', 'summed, shape', "g['b2'] = dout.sum(axis=0) => g['b2'] = dout.sum()"),
    ('before the activation', 'W2.g', f'{tensor}, activation, {mask}', 'self.h.T@dout => self.a.T@dout'),
    ('leak forgotten', 'x.g W1.g b1.g', f'{mask}, leak, {deriv}', 'np.where(self.a > 0, 1, .1) => (self.a > 0)'),
    par=', '.join(f"{k}: L.params['{k}'] ~ L.grads['{k}']" for k in ('W1','b1','W2','b2')),
    back='L.backward(g)')

layer('embedding_params_list', 'class, self.grads[0]', '''
class Embedding:
    def __init__(self, W):
        self.params,self.grads = [W],[np.zeros_like(W)]
    def forward(self, idx):
        W, = self.params
        self.idx = idx
        return W[idx]
    def backward(self, dout):
        dW, = self.grads
        dW[...] = 0
        np.add.at(dW, self.idx, dout)

def example(r): return Embedding(r.np(7,4)), np.array([2,5,2,0,2,6])
''',
    ('repeated indices lost', 'W.g', 'repeat, index, indices, duplicat, overwrit, accumul',
        'np.add.at(dW, self.idx, dout) => dW[self.idx] += dout'),
    ('never set to zero', 'W.g', again, '        dW[...] = 0\n =>         pass\n', dict(shows='again')),
    par='W: L.params[0] ~ L.grads[0]', back='L.backward(g)')

layer('linear_w_grad', 'class, W_grad', '''
class LinearTanh:
    def __init__(self, W, b): self.W,self.b = W,b
    def forward(self, x):
        self.x = x
        self.y = torch.tanh(x@self.W + self.b)
        return self.y
    def backward(self, grad):
        d = grad*(1 - self.y**2)
        self.W_grad = self.x.T@d
        self.b_grad = d.sum(0)
        return d@self.W.T

def example(r): return LinearTanh(r(4,3), r(3)), r(6,4)
''',
    ('slope missing in one', 'b.g', f'{deriv}, {factor}', 'self.b_grad = d.sum(0) => self.b_grad = grad.sum(0)'),
    ('slope of the slope', 'x.g W.g b.g', f'{deriv}, {tensor}', '(1 - self.y**2) => (1 - torch.tanh(self.y)**2)'),
    ('incoming gradient is changed', 'kept', 'in place, in-place, incoming, changed, overwritten, kept, damage, modif',
        'd = grad*(1 - self.y**2) => d = grad.mul_(1 - self.y**2)', dict(shows='kept')),
    par='W: L.W ~ L.W_grad, b: L.b ~ L.b_grad', back='L.backward(g)')

layer('gru_cell', 'class, dict of parameters', '''
def sigmoid(x): return 1/(1 + np.exp(-x))

class GRUCell:
    def __init__(self, **params): self.params,self.grads = params,{}
    def forward(self, x, h):
        p = self.params
        z = sigmoid(x@p['Wz'] + h@p['Uz'])
        r = sigmoid(x@p['Wr'] + h@p['Ur'])
        n = np.tanh(x@p['Wn'] + (r*h)@p['Un'])
        self.cache = x,h,z,r,n
        return (1 - z)*n + z*h
    def backward(self, dout):
        x,h,z,r,n = self.cache
        p = self.params
        dn = dout*(1 - z)*(1 - n**2)
        dz = dout*(h - n)*z*(1 - z)
        drh = dn@p['Un'].T
        dr = drh*h*r*(1 - r)
        self.grads = {'Wz': x.T@dz, 'Uz': h.T@dz, 'Wr': x.T@dr, 'Ur': h.T@dr, 'Wn': x.T@dn, 'Un': (r*h).T@dn}
        dx = dz@p['Wz'].T + dr@p['Wr'].T + dn@p['Wn'].T
        dh = dout*z + dz@p['Uz'].T + dr@p['Ur'].T + drh*r
        return dx, dh

def example(r):
    W = {k: r.np(2 if k[0] == 'W' else 3, 3) for k in ('Wz','Uz','Wr','Ur','Wn','Un')}
    return GRUCell(**W), r.np(4,2), r.np(4,3)
''',
    ('update gate the other way round', 'x.g h.g Wz.g Uz.g', 'sign', 'dout*(h - n)*z => dout*(n - h)*z'),
    ('reset gate forgotten in the state', 'h.g', f'{factor}, gate, {deriv}', '+ drh*r\n => + drh\n'),
    ('candidate weight from the bare state', 'Un.g', f'{tensor}, {factor}, gate', "'Un': (r*h).T@dn => 'Un': h.T@dn"),
    ('reset path of x forgotten', 'x.g', path, "dx = dz@p['Wz'].T + dr@p['Wr'].T + dn => dx = dz@p['Wz'].T + dn"),
    par=', '.join(f"{k}: L.params['{k}'] ~ L.grads['{k}']" for k in ('Wz','Uz','Wr','Ur','Wn','Un')), back='L.backward(g)')

layer('causal_attention', 'class, self.dWq', '''
class CausalAttention:
    def __init__(self, Wq, Wk, Wv, heads): self.Wq,self.Wk,self.Wv,self.heads = Wq,Wk,Wv,heads
    def split(self, y): return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
    def merge(self, y): return y.transpose(1, 2).flatten(2)
    def forward(self, x):
        self.x = x
        self.q,self.k,self.v = self.split(x@self.Wq),self.split(x@self.Wk),self.split(x@self.Wv)
        self.scale = self.q.shape[-1]**-.5
        s = self.q@self.k.transpose(-1, -2)*self.scale
        future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        self.p = s.masked_fill(future, -torch.inf).softmax(-1)
        return self.merge(self.p@self.v)
    def backward(self, dout):
        do = self.split(dout)
        dv = self.p.transpose(-1, -2)@do
        dp = do@self.v.transpose(-1, -2)
        ds = self.p*(dp - (dp*self.p).sum(-1, keepdim=True))
        dq = self.merge(ds@self.k*self.scale)
        dk = self.merge(ds.transpose(-1, -2)@self.q*self.scale)
        dv = self.merge(dv)
        self.dWq = torch.einsum('btd,bte->de', self.x, dq)
        self.dWk = torch.einsum('btd,bte->de', self.x, dk)
        self.dWv = torch.einsum('btd,bte->de', self.x, dv)
        return dq@self.Wq.T + dk@self.Wk.T + dv@self.Wv.T

def example(r): return CausalAttention(r(4,4), r(4,4), r(4,4), 2), r(2,4,4)
''',
    ('scale missing in the keys', 'x.g Wk.g', f'{factor}, scale', 'ds.transpose(-1, -2)@self.q*self.scale => ds.transpose(-1, -2)@self.q'),
    ('values forget x', 'x.g', path, 'dk@self.Wk.T + dv@self.Wv.T => dk@self.Wk.T'),
    ('softmax over the queries', 'x.g Wq.g Wk.g', f'axis, axes, dim, wrong tensor',
        '(dp*self.p).sum(-1, keepdim=True) => (dp*self.p).sum(-2, keepdim=True)'),
    ('keys without the transpose', 'x.g Wk.g', order, 'self.merge(ds.transpose(-1, -2)@self.q => self.merge(ds@self.q'),
    ('mean over the batch', 'Wv.g', f'1/n, mean, factor',
        "self.dWv = torch.einsum('btd,bte->de', self.x, dv) => self.dWv = torch.einsum('btd,bte->de', self.x, dv)/len(self.x)"),
    par='Wq: L.Wq ~ L.dWq, Wk: L.Wk ~ L.dWk, Wv: L.Wv ~ L.dWv', back='L.backward(g)')

layer('conv2d_loops', 'class, self.dW, loops', '''
class Conv2d:
    def __init__(self, W, b, stride=2, pad=1): self.W,self.b,self.stride,self.pad = W,b,stride,pad
    def forward(self, x):
        p,s,k = self.pad,self.stride,self.W.shape[2]
        self.xp = np.pad(x, ((0,0), (0,0), (p,p), (p,p)))
        h,w = (self.xp.shape[2] - k)//s + 1,(self.xp.shape[3] - k)//s + 1
        out = np.zeros((len(x), len(self.W), h, w))
        for i in range(h):
            for j in range(w):
                patch = self.xp[:,:,i*s:i*s+k,j*s:j*s+k]
                out[:,:,i,j] = np.einsum('nchw,fchw->nf', patch, self.W) + self.b
        return out
    def backward(self, dout):
        p,s,k = self.pad,self.stride,self.W.shape[2]
        dxp,self.dW = np.zeros_like(self.xp),np.zeros_like(self.W)
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                d = dout[:,:,i,j]
                dxp[:,:,i*s:i*s+k,j*s:j*s+k] += np.einsum('nf,fchw->nchw', d, self.W)
                self.dW += np.einsum('nf,nchw->fchw', d, self.xp[:,:,i*s:i*s+k,j*s:j*s+k])
        self.db = dout.sum(axis=(0,2,3))
        return dxp[:,:,p:-p,p:-p]

def example(r): return Conv2d(r.np(2,2,3,3), r.np(2)), r.np(2,2,5,6)
''',
    ('first window only', 'W.g', f'overwrit, {rows}, accumul', "self.dW += np.einsum => self.dW = np.einsum"),
    ('columns counted by rows', 'x.g W.g', rows, 'for j in range(dout.shape[3]): => for j in range(dout.shape[3] - 1):'),
    ('space not summed in the bias', 'b.g', 'sum, slice, along axis, row, column, position',
        'dout.sum(axis=(0,2,3)) => dout[:,:,0,0].sum(axis=0)'),
    par='W: L.W ~ L.dW, b: L.b ~ L.db', back='L.backward(g)')

layer('avgpool', 'class', '''
class AvgPool:
    def __init__(self, k): self.k = k
    def forward(self, x):
        k,(n,c,h,w) = self.k,x.shape
        return x.reshape(n, c, h//k, k, w//k, k).mean(axis=(3,5))
    def backward(self, dout): return dout.repeat(self.k, axis=2).repeat(self.k, axis=3)/self.k**2

def example(r): return AvgPool(2), r.np(2,3,4,6)
''',
    ('divided by the side', 'x.g', factor, '/self.k**2 => /self.k'),
    ('tiled instead of repeated', 'x.g', order + ', tile, repeat',
        'dout.repeat(self.k, axis=2).repeat(self.k, axis=3) => np.tile(dout, (1, 1, self.k, self.k))'),
    back='L.backward(g)')

layer('groupnorm', 'class, self.dgamma', '''
class GroupNorm:
    def __init__(self, groups, gamma, beta, eps=1e-5): self.groups,self.gamma,self.beta,self.eps = groups,gamma,beta,eps
    def forward(self, x):
        n,c,l = x.shape
        y = x.reshape(n, self.groups, -1)
        self.inv = 1/torch.sqrt(y.var(-1, unbiased=False, keepdim=True) + self.eps)
        self.xhat = ((y - y.mean(-1, keepdim=True))*self.inv).reshape(x.shape)
        return self.xhat*self.gamma[:,None] + self.beta[:,None]
    def backward(self, dout):
        n,c,l = dout.shape
        self.dgamma,self.dbeta = (dout*self.xhat).sum((0,2)),dout.sum((0,2))
        d = (dout*self.gamma[:,None]).reshape(n, self.groups, -1)
        xh = self.xhat.reshape(d.shape)
        m = d.shape[-1]
        dx = self.inv/m*(m*d - d.sum(-1, keepdim=True) - xh*(d*xh).sum(-1, keepdim=True))
        return dx.reshape(dout.shape)

def example(r): return GroupNorm(2, 1 + .4*r(4), r(4)), r(3,4,3)
''',
    ('size of a channel for that of a group', 'x.g', f'{factor}, mean', 'm = d.shape[-1] => m = l'),
    ('gain after the projection', 'x.g', f'{tensor}, {factor}, gamma',
        'd = (dout*self.gamma[:,None]).reshape(n, self.groups, -1) => d = dout.reshape(n, self.groups, -1)*self.gamma.mean()'),
    ('absolute shift', 'beta.g', 'abs, sign, cotangent', 'dout.sum((0,2))\n => dout.abs().sum((0,2))\n'),
    par='gamma: L.gamma ~ L.dgamma, beta: L.beta ~ L.dbeta', back='L.backward(g)')

layer('stateful_rnn', 'class, state between calls', '''
class StatefulRNN:
    "One step; the state stays for the next call, as in truncated backpropagation through time"
    def __init__(self, Wx, Wh, b): self.Wx,self.Wh,self.b,self.h = Wx,Wh,b,None
    def forward(self, x):
        self.x = x
        self.prev = .3*np.ones((len(x), len(self.b))) if self.h is None or len(self.h) != len(x) else self.h
        self.h = np.tanh(x@self.Wx + self.prev@self.Wh + self.b)
        return self.h
    def backward(self, dh):
        dz = dh*(1 - self.h**2)
        self.dWx,self.dWh,self.db = self.x.T@dz,self.prev.T@dz,dz.sum(axis=0)
        return dz@self.Wx.T

def example(r): return StatefulRNN(r.np(4,3), r.np(3,3), r.np(3)), r.np(5,4)
''',
    ('state after for state before', 'Wh.g', f'{tensor}, output, state', 'self.prev.T@dz => self.h.T@dz'),
    ('sigmoid for tanh', 'x.g Wx.g Wh.g b.g', f'{deriv}, tanh, sigmoid', '(1 - self.h**2) => self.h*(1 - self.h)'),
    par='Wx: L.Wx ~ L.dWx, Wh: L.Wh ~ L.dWh, b: L.b ~ L.db', back='L.backward(g)')

layer('dropout_class', 'class, own generator', '''
class Dropout:
    def __init__(self, p, seed=5):
        self.p,self.rng,self.training = p,np.random.default_rng(seed),True
    def draw(self, x): return (self.rng.random(x.shape) >= self.p)/(1 - self.p)
    def forward(self, x):
        if not self.training: return x
        self.mask = self.draw(x)
        return x*self.mask
    def backward(self, dout): return dout*self.mask if self.training else dout

def example(r): return Dropout(.4), r.np(6,5)
''',
    ('mask drawn again', 'x.g', f'{mask}, random, draw, generator, two runs, differ',
        'return dout*self.mask if => return dout*self.draw(dout) if'),
    ('mask squared', 'x.g', f'{factor}, {mask}, twice, square', 'return dout*self.mask if => return dout*self.mask**2 if'),
    back='L.backward(g)')

layer('weight_norm', 'class, self.dv', '''
class WeightNormLinear:
    def __init__(self, v, g, b): self.v,self.g,self.b = v,g,b
    def forward(self, x):
        self.x = x
        self.norm = np.sqrt((self.v**2).sum(axis=0))
        self.w = self.g*self.v/self.norm
        return x@self.w + self.b
    def backward(self, dout):
        dw = self.x.T@dout
        self.dg = (dw*self.v).sum(axis=0)/self.norm
        self.dv = self.g/self.norm*(dw - self.v*self.dg/self.norm)
        self.db = dout.sum(axis=0)
        return dout@self.w.T

def example(r): return WeightNormLinear(r.np(5,3), 1 + r.g.uniform(size=3), r.np(3)), r.np(6,5)
''',
    ('norm taken as a constant', 'v.g', path, '(dw - self.v*self.dg/self.norm) => dw'),
    ('norm missing in the projection', 'v.g', f'{factor}, {tensor}', 'self.v*self.dg/self.norm) => self.v*self.dg)'),
    ('direction for the weight', 'x.g', f'{tensor}, {factor}', 'dout@self.w.T => dout@(self.v/self.norm).T'),
    par='v: L.v ~ L.dv, g: L.g ~ L.dg, b: L.b ~ L.db', back='L.backward(g)')

layer('silu_class', 'class', '''
class SiLU:
    def forward(self, x):
        self.s = torch.sigmoid(x)
        self.x,self.out = x,x*self.s
        return self.out
    def backward(self, grad_output): return grad_output*self.s*(1 + self.x*(1 - self.s))

def example(r): return SiLU(), r(6,4)
''',
    ('output for input', 'x.g', f'{tensor}', '(1 + self.x*(1 => (1 + self.out*(1'),
    ('sign inside', 'x.g', f'sign, {path}', '(1 + self.x*(1 => (1 - self.x*(1'),
    back='L.backward(grad_output := g)')

layer('prelu_class', 'class, self.grads', '''
class PReLU:
    def __init__(self, alpha): self.alpha,self.grads = alpha,{}
    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha[:,None]*x)
    def backward(self, dout):
        neg = self.x <= 0
        self.grads['alpha'] = (dout*self.x*neg).sum(axis=(0,2))
        return np.where(neg, self.alpha[:,None]*dout, dout)

def example(r): return PReLU(.2 + .1*r.g.uniform(size=4)), r.np(3,4,5)
''',
    ('mask missing in the slope', 'alpha.g', mask, '(dout*self.x*neg).sum => (dout*self.x).sum'),
    ('one slope for all', 'x.g', f'{factor}, channel, mean, {tensor}, {mask}',
        'np.where(neg, self.alpha[:,None]*dout, dout) => np.where(neg, self.alpha.mean()*dout, dout)'),
    par="alpha: L.alpha ~ L.grads['alpha']", back='L.backward(g)')

layer('resblock', 'class, children', '''
class Linear_:
    def __init__(self, W): self.W = W
    def forward(self, x):
        self.x = x
        return x@self.W
    def backward(self, dout):
        self.dW = self.x.T@dout
        return dout@self.W.T

class ReLU6:
    def forward(self, x):
        self.x = x
        return np.clip(x, 0, 6)
    def backward(self, dout): return dout*((self.x > 0) & (self.x < 6))

class ResBlock:
    def __init__(self, W1, W2): self.fc1,self.act,self.fc2 = Linear_(W1),ReLU6(),Linear_(W2)
    def forward(self, x): return x + self.fc2.forward(self.act.forward(self.fc1.forward(x)))
    def backward(self, dout):
        dx = dout.copy()
        dx += self.fc1.backward(self.act.backward(self.fc2.backward(dout)))
        return dx

def example(r): return ResBlock(3*r.np(4,4), r.np(4,4)), r.np(6,4)
''',
    ('skip counted twice', 'x.g', f'twice, double, path, factor', 'return dx\n\ndef => return dx + dout\n\ndef'),
    ('no upper bound', 'x.g fc1.W.g', f'{mask}, upper, bound', 'dout*((self.x > 0) & (self.x < 6)) => dout*(self.x > 0)'),
    ('children in the wrong order', 'fc2.W.g fc1.W.g x.g', f'{order}, {mask}, {tensor}',
        'self.act.backward(self.fc2.backward(dout)) => self.fc2.backward(self.act.backward(dout))'),
    par='fc1.W: L.fc1.W ~ L.fc1.dW, fc2.W: L.fc2.W ~ L.fc2.dW', back='L.backward(g)')

layer('closure_dense', 'closures', '''
def dense(W, b):
    cache = {}
    def forward(x):
        cache['x'],cache['a'] = x,np.tanh(x@W + b)
        return cache['a']
    def backward(dout):
        da = dout*(1 - cache['a']**2)
        return da@W.T, cache['x'].T@da, da.sum(axis=0)
    return forward, backward

def example(r): return dense(r.np(4,3), r.np(3)), r.np(6,4)
''',
    ('one column for all', 'b.g', 'summed, mean, column, broadcast, the same', 'da.sum(axis=0) => da.mean(axis=1).sum()*np.ones(3)'),
    ('slope of the pre-activation', 'x.g W.g b.g', f'{deriv}, {tensor}', "(1 - cache['a']**2) => (1 - cache['a'])"),
    back='L[1](g)', names='x W b')

layer('closure_scale', 'closures', '''
def make_softplus(beta):
    saved = []
    def forward(x):
        saved.clear()
        saved.append(x)
        return torch.log1p(torch.exp(beta*x))/beta
    def backward(g):
        x = saved[0]
        return g*torch.sigmoid(beta*x)
    return forward, backward

def example(r): return make_softplus(1.7), r(5,4)
''',
    ('beta missing', 'x.g', f'{factor}, {deriv}, beta', 'torch.sigmoid(beta*x) => torch.sigmoid(x)'),
    ('list never cleared', 'x.g', again, '        saved.clear()\n =>         pass\n', dict(shows='again')),
    back='L[1](g)')

# I. losses that return a number, and whose backward takes nothing

layer('focal_loss', 'loss class', '''
class FocalLoss:
    def __init__(self, gamma=2.): self.gamma = gamma
    def forward(self, logits, labels):
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.p,self.labels = e/e.sum(axis=1, keepdims=True),labels
        pt = self.p[np.arange(len(labels)),labels]
        return float((-(1 - pt)**self.gamma*np.log(pt)).mean())
    def backward(self):
        n = np.arange(len(self.labels))
        pt = self.p[n,self.labels]
        dpt = self.gamma*(1 - pt)**(self.gamma - 1)*np.log(pt) - (1 - pt)**self.gamma/pt
        d = -self.p*pt[:,None]
        d[n,self.labels] += pt
        return d*dpt[:,None]/len(n)

def example(r): return FocalLoss(), r.np(6,4), np.array([0,3,1,1,2,0])
''',
    ('focus taken as a constant', 'logits.g', f'{path}, {factor}, {deriv}',
        'dpt = self.gamma*(1 - pt)**(self.gamma - 1)*np.log(pt) - (1 => dpt = -(1'),
    ('power not lowered', 'logits.g', f'power, exponent, {factor}, {deriv}', '(1 - pt)**(self.gamma - 1)*np => (1 - pt)**self.gamma*np'),
    back='L.backward()')

layer('huber_loss', 'loss class', '''
class HuberLoss:
    def __init__(self, delta=.8): self.delta = delta
    def forward(self, pred, target):
        self.d = pred - target
        a = np.abs(self.d)
        return np.where(a <= self.delta, .5*a**2, self.delta*(a - .5*self.delta)).mean()
    def backward(self): return np.where(np.abs(self.d) <= self.delta, self.d, self.delta*np.sign(self.d))/self.d.size

def example(r): return (HuberLoss(), r.np(6,3), r.np(6,3)), dict(data='target')
''',
    ('divided by rows', 'pred.g', factor, '/self.d.size => /len(self.d)'),
    ('delta missing outside', 'pred.g', f'{mask}, {factor}, outside, delta', 'self.delta*np.sign(self.d))/ => np.sign(self.d))/'),
    back='L.backward()', names='pred')

layer('hinge_loss', 'loss class', '''
class MulticlassHinge:
    def forward(self, scores, y):
        self.rows,self.y = np.arange(len(y)),y
        m = scores - scores[self.rows,y][:,None] + 1
        m[self.rows,y] = 0
        self.over = m > 0
        return np.maximum(m, 0).sum()/len(y)
    def backward(self):
        d = self.over.astype(float)
        d[self.rows,self.y] = -self.over.sum(axis=1)
        return d/len(d)

def example(r): return MulticlassHinge(), r.np(6,4), np.array([1,0,3,2,2,1])
''',
    ('true class counted once', 'scores.g', f'{path}, {factor}, count, summed', '= -self.over.sum(axis=1) => = -1'),
    back='L.backward()')

layer('bce_logits', 'loss class', '''
class BCEWithLogits:
    def __init__(self, pos_weight): self.pos_weight = pos_weight
    def forward(self, z, y):
        self.z,self.y = z,y
        sp = torch.logaddexp(torch.zeros_like(z), -z)      # -log sigmoid(z)
        return (self.pos_weight*y*sp + (1 - y)*(z + sp)).mean()
    def backward(self):
        s = torch.sigmoid(self.z)
        return (self.pos_weight*self.y*(s - 1) + (1 - self.y)*s)/self.z.numel()

def example(r): return (BCEWithLogits(2.5), r(7,3), (r.u(7,3) > .5).to(r.dtype)), dict(data='y')
''',
    ('weight of the positives forgotten', 'z.g', f'{factor}, {mask}, pos_weight', '(self.pos_weight*self.y*(s - 1) + => (self.y*(s - 1) +'),
    ('slope of a probability', 'z.g', f'{deriv}, {factor}', '+ (1 - self.y)*s)/self.z => + (1 - self.y)*s)*s*(1 - s)/self.z'),
    back='L.backward()', names='z')

layer('contrastive_loss', 'loss class, two gradients', '''
class ContrastiveLoss:
    def __init__(self, margin=3.): self.margin = margin
    def forward(self, a, b, same):
        self.diff,self.same = a - b,same
        self.dist = np.sqrt((self.diff**2).sum(axis=1))
        gap = np.maximum(self.margin - self.dist, 0)
        return .5*np.where(same, self.dist**2, gap**2).mean()
    def backward(self):
        gap = np.maximum(self.margin - self.dist, 0)
        c = np.where(self.same, 1, -gap/self.dist)/len(self.dist)
        da = c[:,None]*self.diff
        return da, -da

def example(r): return (ContrastiveLoss(), r.np(6,3), r.np(6,3), np.array([1,0,1,0,0,1]).astype(bool))
''',
    ('distance missing', 'a.g b.g', f'{factor}, {mask}, {deriv}, dist', '-gap/self.dist) => -gap)'),
    ('second gets no sign', 'b.g', 'sign', 'return da, -da => return da, da'),
    back='L.backward()')

layer('info_nce', 'loss class, two gradients', '''
class InfoNCE:
    def __init__(self, tau=.5): self.tau = tau
    def forward(self, u, v):
        self.u,self.v = u,v
        s = u@v.T/self.tau
        self.p = torch.softmax(s, 1)
        return -torch.log_softmax(s, 1).diagonal().mean()
    def backward(self):
        ds = (self.p - torch.eye(len(self.p), dtype=self.p.dtype))/len(self.p)
        return ds@self.v/self.tau, ds.T@self.u/self.tau

def example(r): return InfoNCE(), r(5,3), r(5,3)
''',
    ('not transposed', 'v.g', 'transpos, axis, permut, swap', 'ds.T@self.u/self.tau => ds@self.u/self.tau'),
    ('negatives alone', 'u.g v.g', f'{path}, diagonal, positive',
        '(self.p - torch.eye(len(self.p), dtype=self.p.dtype))/len => (self.p)/len'),
    back='L.backward()')
