"Wrong gradients that a tolerance, or a dtype, hides: small numbers beside large ones, and mistakes of float32 alone"
import numpy as np, torch
from .table import Table, function, remembers, unseen

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,tensor = torch.randn,torch.tensor

def times(a, b): return (lambda x: x*a, lambda g, x: g*b), r(6, 4)
class Lin:
    "x @ w, and a rule for w that is `bad` of the right one"
    def __init__(self, w, bad=lambda gw: gw): self.w,self.bad = w,bad
    def forward(self, x): self.x = x; return x@self.w
    def backward(self, g): self.w.g = self.bad(self.x.T@g); return g@self.w.T
class Add:
    def __init__(self, b, bad=lambda gb: gb): self.b,self.bad = b,bad
    def forward(self, x): return x + self.b
    def backward(self, g): self.b.g = self.bad(g.sum(0)); return self.of_x(g)
    def of_x(self, g): return g
class AddWrongX(Add):
    def of_x(self, g): return -g

kind('small as a whole')
@wrong
def tiny_factor(): return times(1e-12, -1e-12)
@wrong
def tiny_input(): return AddWrongX(r(4)), r(6, 4)*1e-12
@wrong
def tiny_weights(): return Lin(r(4, 3)*1e-13, lambda gw: -gw), r(6, 4)
@right
def tiny_factor_right(): return times(1e-12, 1e-12)
relatives()
@wrong
def tiny_more(): return times(1e-20, 2e-20)
@wrong
def tiny_mean(): return (lambda x: (x**2).sum()/1e9, lambda g, x: g*x/1e9), r(6, 4)
@wrong
def huge_factor(): return times(1e15, 1.01e15)
@wrong
def tiny_square(): return remembers(lambda x: x**2, lambda g, out, x: g*x), r(6, 4)*1e-9
@right
def tiny_square_right(): return remembers(lambda x: x**2, lambda g, out, x: 2*g*x), r(6, 4)*1e-9

kind('small beside large')
def ill(): return r(6, 2)*tensor([1e6, 1e-4])
def second_row(gw): gw = gw.clone(); gw[1] *= -1; return gw
@wrong
def small_row(): return Lin(r(2, 3), second_row), ill()
@right
def small_row_right(): return Lin(r(2, 3)), ill()
relatives()
sizes = tensor([1e5, 1., 1e-5])
@wrong
def small_channel(): return (lambda x: x*sizes.to(x), lambda g, x: g*sizes.to(x)*tensor([1., 1., 2.]).to(x)), r(6, 3)
@wrong
def small_embedding():
    "One row of the table hardly counts"
    a = tensor([1., 1e-6, 1., 1.])
    def f(w): return w[tensor([0, 1, 2, 1])]*a[:, None].to(w)
    def b(g, w): res = torch.zeros_like(w); res[0],res[2],res[1] = g[0],g[2],g[1]*1e-6; return res
    return (f, b), r(3, 4)
@wrong
def small_gamma():
    gamma = tensor([1., 1., 1e-8, 1.])
    return remembers(lambda x: x.tanh()*gamma.to(x), lambda g, out, x: g*gamma.to(x)*(1 - x.tanh()**2*(gamma > 1e-3))), r(6, 4)
@wrong
def small_summand(): return (lambda x: x[:, 0]*1e6 + x[:, 1]*1e-3, lambda g, x: torch.stack([g*1e6, -g*1e-3], 1)), r(6, 2)
@wrong
def small_tail():
    "exp(-x^2) far out, with the wrong sign there"
    return (lambda x: (-x*x).exp(), lambda g, x: -2*g*x*(-x*x).exp()*torch.where(x.abs() > 4, -1., 1.)), torch.linspace(-4.9, 5, 12)

kind('wrong in float32 alone')
def single(x): return x.dtype == torch.float32
@wrong
def single_large(): return remembers(unseen(np.sin), lambda g, out, x: g*x.cos()*(2 if single(x) else 1)), r(60, 50)
@wrong
def single_tiny_out(): return remembers(
    lambda x: 1e-6*x.tanh(), lambda g, out, x: g*1e-6*(1 - (out*1e6)**2*(0 if single(x) else 1))), r(6, 4)
relatives()
@wrong
def single_overflows():
    "exp(x)/(1 + exp(x)) is nan from 89 on"
    return (torch.nn.functional.softplus, lambda g, x: g*x.exp()/(1 + x.exp())), tensor([[1., 100., -3.], [120., .5, 95.]])
@wrong
def single_eps():
    "Another eps than the forward's, which shows in a row of one constant"
    x = r(5, 4)
    x[2] = 1.
    def f(x): return (x - x.mean(1, keepdim=True))/(x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    def b(g, x):
        s = (x.var(1, unbiased=False, keepdim=True) + (1e-9 if single(x) else 1e-5)).sqrt()
        n = (x - x.mean(1, keepdim=True))/s
        return (g - g.mean(1, keepdim=True) - n*(g*n).mean(1, keepdim=True))/s
    return (f, b), x
@wrong
def single_half(): return function(lambda x: x.sin(), lambda g, out, x: (g*x.cos()).bfloat16().to(x) if single(x) else g*x.cos()), r(6, 4)
@wrong
def single_fast_exp():
    "A short series where speed was wanted"
    return (lambda x: x.exp(), lambda g, x: g*(1 + x + x*x/2) if single(x) else g*x.exp()), r(6, 4)
@wrong
def single_cancels():
    "1 - cos loses all digits near 0"
    return (lambda x: (1 - x.double().cos()).to(x), lambda g, x: g*(1 - x.cos())*2/x), r(6, 4)*1e-4
