"torch.autograd.Function in the ways in which people write it"
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from .table import Table, function

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,rand,tensor = torch.randn,torch.rand,torch.tensor

kind('autograd.Function')
def isrlu(rule):
    class ISRLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, t, alpha=1):
            ctx.r = torch.rsqrt(1. + alpha*torch.min(t, 0*t)**2)
            return t*ctx.r
        @staticmethod
        def backward(ctx, g): return rule(g, ctx.r), None
    return ISRLU
ISRLU,ISRLUWrong = isrlu(lambda g, q: g*q**3),isrlu(lambda g, q: q**3)
@wrong
def isrlu_cot_ignored(): return ISRLUWrong, r(6, 4), 1
@wrong
def isrlu_cot_ignored_first(): return ISRLUWrong, r(6, 4)
@wrong
def isrlu_cot_ignored_alpha(): return ISRLUWrong, r(6, 4), 2.
@wrong
def isrlu_cot_ignored_apply(): return ISRLUWrong.apply, r(6, 4)
@right
def isrlu_mended(): return ISRLU, r(6, 4), 1
@right
def isrlu_mended_first(): return ISRLU, r(6, 4)
class PerSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *args): ctx.save_for_backward(*args); return (args[0]*args[1]).sum(1)
    @staticmethod
    def backward(ctx, g): x,w = ctx.saved_tensors; return g[:, None]*w, g[:, None]*x
@wrong(says=lambda rep: 'shape' in str(rep))
def per_sample(): return PerSample, r(4, 3), r(3)
class BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        inv = (x.var(0, unbiased=False) + 1e-5).rsqrt(); xn = (x - x.mean(0))*inv
        ctx.save_for_backward(xn, weight, inv)
        return xn*weight + bias
    @staticmethod
    def backward(ctx, g): xn,w,inv = ctx.saved_tensors; return g*w*inv, (g*xn).sum(0), g.sum(0)
@wrong
def bn_stats_constant(): return BatchNorm, r(8, 3), rand(3) + .5, r(3)
def rot(x, cos, sin):
    h = x.shape[-1]//2; a,b = x[..., :h].clone(),x[..., h:].clone()
    x[..., :h] = a*cos - b*sin; x[..., h:] = b*cos + a*sin
    return x
class RoPE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, cos, sin): ctx.cos,ctx.sin = cos,sin; return rot(q, cos, sin)
    @staticmethod
    def backward(ctx, dy): return rot(dy, ctx.cos, -ctx.sin), None, None
def rope():
    t = torch.arange(5)[:, None]*tensor([1., .1])
    return RoPE, r(2, 5, 4), t.cos(), t.sin()
@wrong(data=('cos', 'sin'), ref=False)
def rope_inplace(): return rope()
@wrong(ref=False)
def rope_inplace_first(): return rope()
class RMS(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X, W, eps):
        q = ((X**2).mean(-1, keepdim=True) + eps).rsqrt()
        ctx.save_for_backward(X, W, q)
        return X*q*W
    @staticmethod
    def backward(ctx, dY):
        X,W,q = ctx.saved_tensors; n = X*q; g = dY*W
        return q*(g - n*(g*n).mean(-1, keepdim=True)), None, None
@wrong
def rmsnorm_weight_none(): return RMS, r(4, 6), rand(6) + .5, 1e-6
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        q = ((x**2).mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(x, weight, q)
        return x*q*weight
    @staticmethod
    def backward(ctx, g):
        x,w,q = ctx.saved_tensors; s = (g*x*w).sum(-1, keepdim=True)
        return g*w*q - w*q**3*x*s/x.shape[-1], (g*x*q).sum(0)
class RMSModule(nn.Module):
    def __init__(self, d): super().__init__(); self.weight = nn.Parameter(torch.ones(d))
    def forward(self, x): return Twice.apply(x, self.weight)
@wrong
def rmsnorm_weight_twice(): return Twice, r(5, 4), rand(4) + .5
class Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, dim): out = a.max(dim, keepdim=True).values; ctx.save_for_backward(a, out); return out
    @staticmethod
    def backward(ctx, g): a,out = ctx.saved_tensors; return g*((a - out).abs() < 1e-2), None
@wrong
def max_isclose(): return Max, tensor([[1., 2., 2.005, 0.], [.3, .1, -.5, .2], [5., 4.995, 1., 2.], [-1., -2., -3., -1.5]]), 1
@wrong
def max_isclose_ties(): return Max, tensor([[1., 2., 2., 0.], [.3, .1, -.5, .2], [5., 5., 5., 2.]]), 1
class Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, emb): ctx.k = torch.cdist(x, emb).argmin(1); ctx.n = len(emb); return emb[ctx.k].clone()
    @staticmethod
    def backward(ctx, g):
        ge = torch.zeros(ctx.n, g.shape[1], dtype=g.dtype)
        for i in range(ctx.n):
            if (ctx.k == i).any(): ge[i] = g[ctx.k == i].mean(0)
        return g, ge
@wrong
def vq_mean_for_sum(): return Nearest, r(9, 3), r(4, 3)
@wrong(data='x')
def vq_mean_for_sum_told(): return Nearest, r(9, 3), r(4, 3)
class Twofold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inp): ctx.foo = inp*2; return ctx.foo**2
    @staticmethod
    def backward(ctx, g): return 4*ctx.foo*g
@right
def double_backward_first_order(): return Twofold, r(5, 3)
class Penalty(nn.Module):
    def forward(self, x):
        if not x.requires_grad: x = x.detach().requires_grad_()
        with torch.enable_grad(): g, = torch.autograd.grad(Twofold.apply(x).sum(), x, create_graph=True)
        return (g**2).sum(1)
@wrong(ref=False)
def double_backward_penalty():
    "The second derivative is asked for, and ctx.foo is no output: silently zero"
    return Penalty(), r(5, 3)
@wrong(second=True, ref=False)
def double_backward_second(): return Twofold, r(5, 3)
class Strides(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): q = ((x**2).mean(-1, keepdim=True) + 1e-5).rsqrt(); ctx.save_for_backward(x, q); return x*q
    @staticmethod
    def backward(ctx, dy):
        x,q = ctx.saved_tensors
        dy = torch.as_strided(dy, dy.shape, (dy.shape[1], 1), dy.storage_offset())   # as if it were contiguous
        n = x*q
        return q*(dy - n*(dy*n).mean(-1, keepdim=True))
@wrong(ref=False)
def rmsnorm_strides(): return Strides, r(5, 4)

@torch.library.custom_op('cases::cube', mutates_args=())
def cube(x: torch.Tensor) -> torch.Tensor: return x**3
@torch.library.custom_op('cases::sq', mutates_args=())
def sq(x: torch.Tensor) -> torch.Tensor: return x**2
def keep(ctx, inputs, output): ctx.save_for_backward(inputs[0])
cube.register_autograd(lambda ctx, g: 2*g*ctx.saved_tensors[0]**2, setup_context=keep)
sq.register_autograd(lambda ctx, g: 2*g*ctx.saved_tensors[0], setup_context=keep)
@wrong
def custom_op(): return cube, r(5, 4)
@right
def custom_op_right(): return (lambda x: sq(x)), r(5, 4)
class Amp(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type='cuda', cast_inputs=torch.float32)
    def forward(ctx, x, w): ctx.save_for_backward(x, w); return x@w
    @staticmethod
    @torch.amp.custom_bwd(device_type='cuda')
    def backward(ctx, g): x,w = ctx.saved_tensors; return g@w.T, x.T@g
class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): y = x.exp(); ctx.save_for_backward(y); return y
    @staticmethod
    @once_differentiable
    def backward(ctx, g): return g*ctx.saved_tensors[0]
@right
def decorators_amp(): return Amp, r(5, 4), r(4, 3)
@right
def decorators_once(): return Once, r(5, 4)
class TopVal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        v,i = x.max(1); ctx.save_for_backward(i); ctx.shape = x.shape; ctx.mark_non_differentiable(i); return v, i
    @staticmethod
    def backward(ctx, gv, gi):
        i, = ctx.saved_tensors; g = torch.zeros(ctx.shape, dtype=gv.dtype)
        return g.scatter_(1, i[:, None], gv[:, None])
@right(also='not checked', ref=False)
def two_outputs_one_of_integers(): return TopVal, r(5, 4)
@right
def two_outputs_first(): return (lambda x: TopVal.apply(x)[0]), r(5, 4)
relatives()
class Pow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p): ctx.save_for_backward(x); ctx.p = p; return x**p
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g*ctx.p*x**ctx.p, None
@wrong
def power_of_number(): return Pow, r(5, 4), 3
class NewStyle(torch.autograd.Function):
    @staticmethod
    def forward(x, w): return (x*w).sigmoid()
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(*inputs, output)
    @staticmethod
    def backward(ctx, g): x,w,y = ctx.saved_tensors; d = g*y*(1 - y); return d*w, (d*x).sum(0)
@right
def new_style(): return NewStyle, r(5, 4), r(4)
class Needs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w): ctx.save_for_backward(x, w); return x@w
    @staticmethod
    def backward(ctx, g):
        x,w = ctx.saved_tensors
        return (g@w.T if ctx.needs_input_grad[0] else None), (g.T@x if ctx.needs_input_grad[1] else None)
@wrong
def needs_input_grad_transposed():
    "w is square, so that the shape fits"
    return Needs, r(5, 4), r(4, 4)
class Views(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.shape = x.shape; return x.reshape(-1, 2)
    @staticmethod
    def backward(ctx, g): return g.T.reshape(ctx.shape)
@wrong
def reshape_transposed(): return Views, r(4, 4)
class Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, i): ctx.save_for_backward(i); ctx.n = len(table); return table[i]
    @staticmethod
    def backward(ctx, g):
        i, = ctx.saved_tensors; res = g.new_zeros(ctx.n, g.shape[1]); res[i] = g
        return res, None
@wrong
def gather_overwrites(): return Gather, r(4, 3), tensor([0, 2, 2, 1, 0])
class GatherAdds(Gather):
    @staticmethod
    def backward(ctx, g): i, = ctx.saved_tensors; return g.new_zeros(ctx.n, g.shape[1]).index_add(0, i, g), None
@right
def gather_adds(): return GatherAdds, r(4, 3), tensor([0, 2, 2, 1, 0])

kind('None, defaults, and sums that the engine does')
class Optional_(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k=2): ctx.k = k; return x*k
    @staticmethod
    def backward(ctx, g): return g*ctx.k, None
@right
def default_argument(): return Optional_, r(5, 4)
class NoInfluence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y): return x*2 + 0*y.detach()
    @staticmethod
    def backward(ctx, g): return 2*g, None
@right
def none_without_influence(): return NoInfluence, r(5, 4), r(5, 4)
class Bias(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b): return x + b
    @staticmethod
    def backward(ctx, g): return g, g
def noted(rep): return any(getattr(rep, 'notes', ()))   # that the engine sums
@right(says=noted)
def broadcast_bias(): return Bias, r(5, 4), r(4)
class Own(nn.Module):
    "p.grad is written inside the backward"
    class F(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, l): ctx.x,ctx.l = x.detach(),l; return x@l.w.detach()
        @staticmethod
        def backward(ctx, g):
            ctx.l.w.grad = ctx.x.T@g
            return g@ctx.l.w.detach().T, None
    def __init__(self): super().__init__(); self.w = nn.Parameter(r(4, 3))
    def forward(self, x): return Own.F.apply(x, self)
@right(ref=False)
def grad_written_inside(): return Own(), r(5, 4)
relatives()
class TwoDefaults(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, lo=-1., hi=1.): ctx.save_for_backward(x); ctx.r = lo,hi; return x.clamp(lo, hi)
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g*(x > ctx.r[0])*(x < ctx.r[1]), None, None
@right
def two_defaults(): return TwoDefaults, r(5, 4)
@wrong
def none_with_influence(): return function(lambda x, y: x*2 + y, lambda g, out, x, y: (2*g, None)), r(5, 4), r(5, 4)
@right(says=noted)
def broadcast_row(): return Bias, r(5, 4), r(1, 4)
@right(says=noted)
def broadcast_number(): return Bias, r(5, 4), tensor(.3)
@wrong
def broadcast_scale():
    "The engine sums g where (g*x) should have been summed"
    return function(lambda x, a: x*a, lambda g, out, x, a: (g*a, g)), r(5, 4), r(4)
@right
def none_for_integers(): return function(lambda x, i: x[i], lambda g, out, x, i: (torch.zeros_like(x).index_add(0, i, g), None)), \
    r(5, 4), tensor([1, 1, 3])

kind('float32 inside of a forward, and a wrong rule')
def inside(f, rule):
    class Inside(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x): ctx.save_for_backward(x); return f(x.float()).to(x.dtype)
        @staticmethod
        def backward(ctx, g): x, = ctx.saved_tensors; return rule(g.float(), x.float()).to(g.dtype)
    return Inside
def silu(x): return x*x.sigmoid()
def silu_b(g, x): s = x.sigmoid(); return g*(s + x*s*(1 - s))
SiluWrong = inside(silu, lambda g, x: -g*(x.sigmoid() + x*x.sigmoid()*(1 - x.sigmoid())))
SiluSign = inside(silu, lambda g, x: g*(x.sigmoid() + x*x.sigmoid()*(1 + x.sigmoid())))
@wrong(ref=False)
def float32_inside_sign(): return SiluWrong, r(5, 4)
@wrong(ref=False)
def float32_inside_small(): return SiluWrong, r(3, 2)
@wrong(ref=False)
def float32_inside_term(): return SiluSign, r(5, 4)
@right(ref=False)
def float32_inside_right(): return inside(silu, silu_b), r(5, 4)
relatives()
@wrong(ref=False)
def float32_sine(): return inside(torch.sin, lambda g, x: -g*x.cos()), r(6, 5)
@wrong(ref=False)
def float32_exp_factor(): return inside(torch.exp, lambda g, x: 1.5*g*x.exp()), r(6, 5)
@wrong(ref=False)
def float32_relu(): return inside(torch.relu, lambda g, x: 2*g*(x > 0)), r(6, 5)
@wrong(ref=False)
def float32_softmax(): return inside(lambda x: x.softmax(-1), lambda g, x: g*x.softmax(-1)*(1 - x.softmax(-1))), r(6, 5)
@right(ref=False)
def float32_tanh_right(): return inside(torch.tanh, lambda g, x: g*(1 - x.tanh()**2)), r(6, 5)
@wrong(ref=False)
def float32_norm(): return inside(lambda x: x/x.norm(dim=-1, keepdim=True), lambda g, x: g/x.norm(dim=-1, keepdim=True)), r(6, 5)
class Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        assert x.dtype in (torch.float16, torch.float32), 'kernel takes fp16 or fp32'
        ctx.save_for_backward(x)
        return silu(x)
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return silu_b(g, x)
class KernelWrong(Kernel):
    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g*x.sigmoid()

kind('kernels that take float32 only')
@right(ref=False)
def float32_only(): return Kernel, r(5, 4)
relatives()
@wrong(ref=False)
def float32_only_wrong(): return KernelWrong, r(5, 4)
def only(f):
    def g(*xs):
        if any(x.dtype != torch.float32 for x in xs): raise TypeError('expected float32')
        return f(*xs)
    return g
@right(ref=False)
def float32_only_pair(): return (only(torch.tanh), only(lambda g, x: g*(1 - x.tanh()**2))), r(5, 4)
@wrong(ref=False)
def float32_only_pair_wrong(): return (only(torch.tanh), only(lambda g, x: g*(1 - x**2))), r(5, 4)
@right(ref=False)
def float32_only_two(): return function(only(lambda x, w: x@w), only(lambda g, out, x, w: (g@w.T, x.T@g))), r(5, 4), r(4, 3)
@wrong(ref=False)
def float32_only_two_wrong(): return function(only(lambda x, w: x@w), only(lambda g, out, x, w: (g@w.T, 2*x.T@g))), r(5, 4), r(4, 3)
