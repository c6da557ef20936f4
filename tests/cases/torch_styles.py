"Layers as classes, Modules and nn.Modules: parameters, values that hide a mistake, axes"
import numpy as np, torch
import torch.nn.functional as F
from torch import nn
from backprop_nb.modules import Linear, Module, Sequential
from .table import Table, remembers

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,rand,tensor = torch.randn,torch.rand,torch.tensor

kind('parameters that nobody declares')
class Scale(Module):
    k = 1
    def __init__(self, d): self.a = r(d)
    def forward(self, x): return x*self.a
    def bwd(self, out, x): x.g = out.g*self.a; self.a.g = self.k*(out.g*x).sum(0)
class ScaleWrong(Scale): k = 3
@wrong
def undeclared(): return ScaleWrong(4), r(6, 4)
@right
def undeclared_right(): return Scale(4), r(6, 4)
@wrong
def undeclared_inside(): return Sequential(Linear(r(4, 3), r(3)), ScaleWrong(3)), r(6, 4)
class Pairs:
    "parameters() gives pairs of a name and a tensor"
    def __init__(self): self.w = r(4, 3)
    def parameters(self): yield 'w',self.w
    def forward(self, x): self.x = x; return x@self.w
    def backward(self, g): self.w.g = self.k*self.x.T@g; return g@self.w.T
    k = 2
class PairsRight(Pairs): k = 1
@wrong
def parameters_in_pairs(): return Pairs(), r(6, 4)
@right
def parameters_in_pairs_right(): return PairsRight(), r(6, 4)
class Arrays:
    "A NumPy array is the parameter"
    def __init__(self): self.w = np.random.normal(size=(4, 3))
    def forward(self, x): self.x = x; return x@self.w
    def backward(self, g): self.dw = 2*self.x.T@g; return g@self.w.T
@wrong
def parameters_of_numpy(): return Arrays(), np.random.normal(size=(6, 4))
def closure(k):
    w = r(4, 3)
    def b(g, x): w.g = k*x.T@g; return g@w.to(g).T
    return (lambda x: x@w.to(x), b), r(6, 4)
@wrong(also='not checked', ref=False)
def parameters_in_a_closure(): return closure(2)
relatives()
class Held:
    def __init__(self, hold): self.hold = hold
    def w(self): return next(iter(self.hold.values())) if isinstance(self.hold, dict) else self.hold[0]
    def forward(self, x): self.x = x; return x@self.w()
    def backward(self, g): self.w().g = self.k*self.x.T@g; return g@self.w().T
    k = 2
class HeldRight(Held): k = 1
@wrong
def parameters_in_a_list(): return Held([r(4, 3)]), r(6, 4)
@wrong
def parameters_in_a_dict_of_self(): return Held({'w': r(4, 3)}), r(6, 4)
@right
def parameters_in_a_list_right(): return HeldRight([r(4, 3)]), r(6, 4)
class Nested:
    "The weights are two objects deep"
    def __init__(self): self.body = type('Body', (), {})(); self.body.core = Held([r(4, 3)])
    def forward(self, x): return self.body.core.forward(x)
    def backward(self, g): return self.body.core.backward(g)
@wrong
def parameters_two_deep(): return Nested(), r(6, 4)
class Slots:
    __slots__ = 'w','x'
    def __init__(self): self.w = r(4, 3)
    def forward(self, x): self.x = x; return x@self.w
    def backward(self, g): self.w.g = -self.x.T@g; return g@self.w.T
@wrong(ref=False)
def parameters_in_slots(): return Slots(), r(6, 4)
class DictOf:
    "`parameters` is a dict"
    def __init__(self): self.parameters = {'W': r(4, 3)}; self.gradients = {'W': torch.zeros(4, 3)}
    def forward(self, X): self.X = X; return X@self.parameters['W']
    def backward(self, d): self.gradients['W'] = self.k*self.X.T@d; return d@self.parameters['W'].T
    k = 1
class DictOfWrong(DictOf): k = 2
@right
def parameters_is_a_dict(): return DictOf(), r(6, 4)
@wrong
def parameters_is_a_dict_wrong(): return DictOfWrong(), r(6, 4)

kind('values at which a wrong rule is right')
class LoRA:
    def __init__(self, d, k, s=4.): self.W,self.A,self.B,self.s = r(d, k),r(d, 2),torch.zeros(2, k),s
    def forward(self, x): self.x = x; return x@self.W + self.s*(x@self.A@self.B)
    def backward(self, g):
        self.W.g = self.x.T@g; self.B.g = self.s*(self.x@self.A).T@g
        self.A.g = self.x.T@(g@self.B.T)             # the scale is missing
        return g@self.W.T + (g@self.B.T)@self.A.T    # and here
@wrong
def hidden_lora(): return LoRA(4, 3), r(6, 4)
@wrong
def hidden_lora_moved(): l = LoRA(4, 3); l.B = r(2, 3); return l, r(6, 4)
class BN:
    "The scale is missing from dx"
    def __init__(self, gamma): self.gamma,self.beta = gamma,torch.zeros_like(gamma)
    def forward(self, x):
        mu = x.mean(0); self.xmu = x - mu
        self.ivar = 1/torch.sqrt((self.xmu**2).mean(0) + 1e-5)
        return self.gamma*self.xmu*self.ivar + self.beta
    def backward(self, dy):
        m = len(dy); dyivar = self.of(dy)*self.ivar
        self.gamma.g = (self.xmu*dy*self.ivar).sum(0); self.beta.g = dy.sum(0)
        dvar = -.5*(dyivar*self.xmu*self.ivar**2).sum(0)
        dmu = -dyivar.sum(0) - 2*dvar*self.xmu.sum(0)/m
        return dyivar + dvar*2*self.xmu/m + dmu/m
    def of(self, dy): return dy
class BNRight(BN):
    def of(self, dy): return dy*self.gamma
@wrong
def hidden_bn_scale(): return BN(torch.ones(4)), r(7, 4)
@wrong
def hidden_bn_scale_moved(): return BN(rand(4) + .5), r(7, 4)
@right
def bn_right(): return BNRight(torch.ones(4)), r(7, 4)
@wrong
def hidden_rmsnorm_weight():
    from .functions import RMSModule
    return RMSModule(4), r(5, 4)
class RNN:
    def __init__(self, d, k): self.w,self.u = r(d, k),r(k, k)
    def forward(self, x):
        self.x,self.hs = x,[torch.zeros(x.shape[1], self.u.shape[0], dtype=x.dtype)]
        for xt in x: self.hs.append((xt@self.w + self.hs[-1]@self.u).tanh())
        return torch.stack(self.hs[1:])
    def backward(self, g):
        self.w.g,self.u.g = torch.zeros_like(self.w),torch.zeros_like(self.u)
        dx,dh = torch.zeros_like(self.x),0
        for t in reversed(range(len(self.x))):
            d = (g[t] + dh)*(1 - self.hs[t + 1]**2)
            self.w.g += self.x[t].T@d; self.u.g += self.hs[t + self.late].T@d
            dx[t] = d@self.w.T; dh = d@self.u.T if self.through else 0
        return dx
    late,through = 0,True
class RNNForgets(RNN): through = False
class RNNLate(RNN): late,through = 1,False
@wrong
def hidden_rnn_state(): return RNNLate(4, 3), r(4, 5, 4)
@wrong
def hidden_rnn_through_time(): return RNNForgets(4, 3), r(4, 5, 4)
@wrong
def hidden_cube_of_ones(): return (lambda x: x**3, lambda g, x: 3*g*x), torch.ones(4, 3)
class BNEval(nn.Module):
    "Statistics of 0 and 1, and a rule that forgets to divide"
    def __init__(self, d): super().__init__(); self.register_buffer('m', torch.zeros(d)); self.register_buffer('v', torch.ones(d))
    def forward(self, x): return Normed.apply(x, self.m, self.v)
class Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, m, v): return (x - m)/(v + 0.).sqrt()
    @staticmethod
    def backward(ctx, g): return g, None, None
@wrong(ref=False)
def hidden_statistics(): return BNEval(4), r(6, 4)
relatives()
class LayerScale(Module):
    def __init__(self, d): self.a = torch.ones(d)
    def forward(self, x): return x + self.a**2*x.tanh()
    def bwd(self, out, x):
        x.g = out.g*(1 + self.a*(1 - x.tanh()**2))
        self.a.g = (2*self.a*out.g*x.tanh()).sum(0)
@wrong
def hidden_layer_scale(): return LayerScale(4), r(6, 4)
class ReZero(Module):
    def __init__(self): self.a = torch.zeros(1)
    def forward(self, x): return x + self.a*x.sin()
    def bwd(self, out, x): x.g = out.g.clone(); self.a.g = (out.g*x.sin()).sum().reshape(1)
@wrong
def hidden_rezero(): return ReZero(), r(6, 4)
@wrong
def hidden_power_of_ones(): return remembers(lambda x, y: x*y**2, lambda g, out, x, y: (g*y, 2*g*x*y)), r(6, 4), torch.ones(6, 4)
@wrong
def hidden_zero_input(): return (lambda x: x.sin(), lambda g, x: g*(1 + x)), torch.zeros(6, 4)
@wrong
def hidden_equal_rows(): return remembers(lambda x: x.softmax(0), lambda g, out, x: out*(g - g.mean(0))), torch.zeros(6, 4)
@wrong
def hidden_identity_matrix(): return remembers(lambda x, w: x@w, lambda g, out, x, w: (g@w, x.T@g)), r(6, 4), torch.eye(4)

kind('no batch axis, or another one')
@right
def axes_softmax_vector(): return remembers(lambda x: x.softmax(0), lambda g, out, x: out*(g - (g*out).sum())), r(6)
@right
def axes_sequence_first(): return RNN(4, 3), r(4, 5, 4)
@right
def axes_square(): return (torch.matmul, lambda g, a, b: (g@b.T, a.T@g)), r(4, 4), r(4, 4)
@right
def axes_variance():
    "nan where there is one row"
    return (lambda x: x.var(0), lambda g, x: g*2*(x - x.mean(0))/(len(x) - 1)), r(6, 4)
relatives()
@right
def axes_inverse(): return remembers(torch.inverse, lambda g, out, x: -out.T@g@out.T), r(4, 4) + 3*torch.eye(4)
@right
def axes_determinant(): return remembers(torch.det, lambda g, out, x: g*out*torch.inverse(x).T), r(4, 4) + 3*torch.eye(4)
@right
def axes_positions():
    class Positions(Module):
        def __init__(self): self.p = r(5, 4)
        def forward(self, x): return x + self.p
        def bwd(self, out, x): x.g = out.g.clone(); self.p.g = out.g.clone()
    return Positions(), r(5, 4)
@right
def axes_flat():
    "A fixed number of rows, flattened"
    class Flat:
        def __init__(self): self.w = r(12, 2)
        def forward(self, x): self.x = x; return x.reshape(-1)@self.w
        def backward(self, g): self.w.g = torch.outer(self.x.reshape(-1), g); return (self.w@g).reshape(self.x.shape)
    return Flat(), r(3, 4)
@right
def axes_conv_unbatched(): return nn.Conv2d(2, 3, 3), r(2, 5, 5)
@right
def axes_covariance(): return (lambda x: (x - x.mean(0)).T@(x - x.mean(0))/5, lambda g, x: (x - x.mean(0))@(g + g.T)/5), r(6, 4)

kind('a parameter as long as the batch')
@right
def long_prelu():
    l = nn.PReLU(2)
    return l, r(2, 2)
relatives()
@right
def long_linear(): return Linear(r(5, 5), r(5)), r(5, 5)
@right
def long_scale(): return Scale(4), r(4, 4)
@right
def long_norm(): return BNRight(rand(6) + .5), r(6, 6)
class PerRow:
    "One factor for each row"
    def __init__(self): self.a = r(6)
    def forward(self, x): self.x = x; return x*self.a[:, None]
    def backward(self, g): self.a.g = (g*self.x).sum(1); return g*self.a[:, None]
@right
def long_factor_per_row(): return PerRow(), r(6, 4)
@right
def long_embedding(): return nn.Embedding(5, 3), tensor([0, 1, 4, 1, 2])
@wrong
def long_scale_wrong(): return ScaleWrong(4), r(4, 4)

kind('differences that leave the domain')
def spd(n): a = r(n, n); return a@a.T + torch.eye(n)*.01
def msqrt(x): l,v = torch.linalg.eigh((x + x.T)/2); return v@torch.diag(l.sqrt())@v.T
def msqrt_b(g, x):
    l,v = torch.linalg.eigh((x + x.T)/2); s = l.sqrt()
    d = v@((v.T@g@v)/(s[:, None] + s))@v.T
    return (d + d.T)/2
@right
def domain_matrix_root(): return (msqrt, msqrt_b), spd(3)
relatives()
@right
def domain_root(): return (torch.sqrt, lambda g, x: g/(2*x.sqrt())), rand(6, 4)*1e-4 + 1e-9
@right
def domain_log(): return (torch.log, lambda g, x: g/x), tensor([[1e-8, .5, 2.], [1e-5, 3., .1]])
@right
def domain_acos(): return (torch.acos, lambda g, x: -g/(1 - x*x).sqrt()), tensor([.999, -.9999, .5, 0.1])
def phi(x): x = x.tril(); return x - torch.diag(x.diagonal()/2)
def chol_b(g, x):
    l = torch.linalg.cholesky(x); li = torch.inverse(l)
    s = li.T@phi(l.T@g)@li
    return (s + s.T)/2
@right
def domain_cholesky(): return (lambda x: torch.linalg.cholesky((x + x.T)/2), lambda g, x: chol_b(g, (x + x.T)/2)), spd(3) + torch.eye(3)*.2
@right
def domain_logit(): return (torch.logit, lambda g, x: g/(x*(1 - x))), tensor([1e-6, .5, 1 - 1e-5, .2])
@wrong
def domain_root_wrong(): return (torch.sqrt, lambda g, x: g/x.sqrt()), rand(6, 4)*1e-4 + 1e-9

kind('axes, order and flips')
class ConvTorch:
    "Writes to the channel of another loop"
    def __init__(self, W): self.W = W
    def forward(self, I):
        self.I = I
        (K,C,R,S),(N,_,H,Wd) = self.W.shape,I.shape
        out = torch.zeros(N, K, H-R+1, Wd-S+1, dtype=I.dtype)
        for i in range(H-R+1):
            for j in range(Wd-S+1): out[:, :, i, j] = torch.einsum('ncrs,kcrs->nk', I[:, :, i:i+R, j:j+S], self.W)
        return out
    def backward(self, E):
        K,C,R,S = self.W.shape
        dI,dW = torch.zeros_like(self.I),torch.zeros_like(self.W)
        for i in range(E.shape[2]):
            for j in range(E.shape[3]):
                dW += torch.einsum('nk,ncrs->kcrs', E[:, :, i, j], self.I[:, :, i:i+R, j:j+S])
                for m in range(K):
                    for d in range(C): dI[:, m % C, i:i+R, j:j+S] += E[:, m, i, j][:, None, None]*self.W[m, d]
        self.W.g = dW
        return dI
@wrong
def conv_wrong_loop_index(): return ConvTorch(r(3, 2, 2, 2)), r(3, 2, 4, 4)
class Gates:
    "The biases of input and output gate get the delta of the forget gate"
    def __init__(self, d, h): self.wf,self.bf,self.wi,self.bi,self.wo,self.bo = r(d, h),r(h),r(d, h),r(h),r(d, h),r(h)
    def forward(self, x):
        self.x = x
        self.f,self.i,self.o = [(x@w + b).sigmoid() for w,b in ((self.wf, self.bf), (self.wi, self.bi), (self.wo, self.bo))]
        return self.f*self.o + self.i
    def backward(self, d):
        df,do,di = d*self.o*self.f*(1 - self.f),d*self.f*self.o*(1 - self.o),d*self.i*(1 - self.i)
        self.wf.grad,self.wi.grad,self.wo.grad = self.x.T@df,self.x.T@di,self.x.T@do
        self.bf.grad = self.bi.grad = self.bo.grad = df.sum(0)
        return df@self.wf.T + di@self.wi.T + do@self.wo.T
class GatesAttributes(Gates):
    "Gradients in wf_grad and so on"
    def backward(self, d):
        res = super().backward(d)
        for n in 'wf bf wi bi wo bo'.split(): p = getattr(self, n); setattr(self, n + '_grad', p.grad); p.grad = None
        return res
@wrong
def lstm_copied_delta(): return Gates(4, 3), r(6, 4)
@wrong
def lstm_copied_delta_first(): return GatesAttributes(4, 3), r(6, 4)
class Pool:
    "The return stands inside of the loop"
    def forward(self, image):
        self.image = image
        out = torch.zeros(image.shape[0]//2, image.shape[1]//2, image.shape[2], dtype=image.dtype)
        for h in range(len(out)):
            for w in range(out.shape[1]): out[h, w] = image[2*h:2*h + 2, 2*w:2*w + 2].amax((0, 1))
        return out
    def backward(self, dY):
        dk = torch.zeros_like(self.image)
        for h in range(dY.shape[0]):
            for w in range(dY.shape[1]):
                p = self.image[2*h:2*h + 2, 2*w:2*w + 2]
                dk[2*h:2*h + 2, 2*w:2*w + 2] = (p == p.amax((0, 1)))*dY[h, w]
                return dk
@wrong
def maxpool_return_in_loop(): return Pool(), r(4, 4, 2)
class Lin:
    def __init__(self, w): self.W = w
    def forward(self, X): self.X = X; return X@self.W
    def backward(self, d): self.W.g = self.X.T@d; return d@self.W.T
class LinDict:
    def __init__(self, w): self.parameters = {'W': w}; self.gradients = {'W': torch.zeros_like(w)}
    def forward(self, X): self.X = [X]; return X@self.parameters['W']
    def backward(self, dLdy): self.gradients['W'] += self.X[0].T@dLdy; return dLdy@self.parameters['W'].T
class Dropout:
    "A wrapper around a layer, whose backward forgets the mask"
    def __init__(self, base, p): self._base,self.p = base,p
    def forward(self, X):
        self.mask = (rand(X.shape) >= self.p).to(X.dtype)
        return 1/(1 - self.p)*self._base.forward(self.mask*X)
    def backward(self, dLdy, retain_grads=True): return self._base.backward(dLdy/(1 - self.p))
@wrong(ref=False)
def dropout_wrapper_no_mask(): return Dropout(Lin(r(4, 3)), .4), r(7, 4)
@wrong(ref=False)
def dropout_wrapper_no_mask_first(): return Dropout(LinDict(r(4, 3)), .4), r(7, 4)
relatives()
@wrong
def axes_cumsum_not_flipped(): return (lambda x: x.cumsum(1), lambda g, x: g.cumsum(1)), r(6, 4)
@wrong
def axes_permuted_back_wrongly(): return (lambda x: x.permute(1, 2, 0)*2, lambda g, x: 2*g.permute(1, 2, 0)), r(3, 3, 3)
@wrong
def axes_roll_same_way(): return (lambda x: x.roll(1, 1), lambda g, x: g.roll(1, 1)), r(6, 4)
@wrong
def axes_kernel_not_flipped():
    def f(x, w): return F.conv1d(x[None, None], w[None, None], padding=1)[0, 0]
    return (f, lambda g, x, w: (f(g, w), F.conv1d(F.pad(x, (1, 1))[None, None], g[None, None])[0, 0])), r(8), r(3)
@wrong
def axes_outer_swapped(): return (torch.outer, lambda g, a, b: (g.T@b, g@a)), r(4), r(4)
def attention(q, k, v): return (q@k.transpose(-1, -2)/2).softmax(-1)@v
def attention_b(g, q, k, v):
    p = (q@k.transpose(-1, -2)/2).softmax(-1); dp = g@v.transpose(-1, -2)
    ds = p*(dp - (dp*p).sum(-1, keepdim=True))/2
    return ds@k, ds@q, p.transpose(-1, -2)@g      # ds.transpose(-1, -2)@q was meant
@wrong
def axes_attention_keys(): return (attention, attention_b), r(2, 5, 4), r(2, 5, 4), r(2, 5, 4)
