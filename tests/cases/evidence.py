"Wrong gradients that look right: the place, the run or the oracle does not show them"
import numpy as np, torch
import torch.nn.functional as F
from .table import Table, function, remembers, unseen

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,where,tensor = torch.randn,torch.where,torch.tensor

kind('nan is no agreement')
def root(x): return where(x > 0, x.sqrt(), x)   # to the left of 0 autograd gives nan
@wrong
def nan_root(): return (root, lambda g, x: where(x > 0, g/(2*x.sqrt()), -99*g)), r(7, 5)
@right
def nan_root_right(): return (root, lambda g, x: where(x > 0, g/(2*x.sqrt()), g)), r(7, 5)
@wrong
def nan_rule():
    "A rule that gives nan to the left, where the slope is one"
    return (root, lambda g, x: g/(2*x.sqrt())), r(7, 5)
relatives()
def log1(x): return where(x > 1, (x - 1).log(), x**2)
@wrong
def nan_log(): return (log1, lambda g, x: where(x > 1, 3*g/(x - 1), 2*g*x)), torch.rand(6, 4)*2
@right
def nan_log_right(): return function(log1, lambda g, out, x: where(x > 1, g/(x - 1), 2*g*x)), torch.rand(6, 4)*2
def arc(x): return where(x.abs() < 1, x.acos(), 3*x)
@wrong
def nan_acos(): return function(arc, lambda g, out, x: where(x.abs() < 1, -g/(1 - x*x).sqrt(), g)), \
    tensor([[.3, -.5, 1.7], [2.1, -1.4, .1]])
def power(x): return where(x > 0, x.clamp(min=0)**.5 + x.pow(1.5), x)
@wrong
def nan_power(): return remembers(power, lambda g, out, x: where(x > 0, g*(.5*x**-.5 + 1.5*x**.5), 0*g)), r(5, 4)
def entropy(x): return where(x > 0, x*x.log(), x.exp())
@wrong
def nan_entropy():
    "nan comes out of the rule at one element in seven"
    return (entropy, lambda g, x: where(x > 0, g*(1 + x.log()), g*x.sqrt()*0)), tensor([.2, .3, -1.5, .7, 2., .9, 1.1])

kind('a kink among thousands of elements, and no autograd')
big_relu = unseen(lambda x: np.maximum(x, 0))
def with_zero(*shape):
    x = r(*shape)
    x[0, 0] = 0
    return x
@wrong
def many_relu(): return remembers(big_relu, lambda g, out, x: 2*g*(x > 0)), with_zero(50, 50)
@right
def many_relu_right(): return remembers(big_relu, lambda g, out, x: g*(x > 0)), with_zero(50, 50)
@wrong
def half_seen():
    "Autograd sees one of the two"
    return (lambda x: F.relu(x.detach()) + F.relu(x)), with_zero(50, 50)
relatives()
@wrong
def many_abs(): return (unseen(np.abs), lambda g, x: -g*x.sign()), with_zero(60, 40)
@wrong
def many_clamp():
    x = r(50, 50)
    x[3, 3] = 1.
    return remembers(unseen(lambda x: np.clip(x, -1, 1)), lambda g, out, x: g), x
@right
def many_clamp_right():
    x = r(50, 50)
    x[3, 3] = 1.
    return remembers(unseen(lambda x: np.clip(x, -1, 1)), lambda g, out, x: g*(x.abs() <= 1)), x
@wrong
def many_row_max():
    x = r(80, 30)
    x[0, 1] = x[0, 2] = x[0].max() + 1
    return remembers(unseen(lambda x: x.max(1)), lambda g, out, x: g[:, None]*(x == x.amax(1, keepdim=True))/2), x
@wrong
def many_leaky(): return function(unseen(lambda x: np.where(x > 0, x, .01*x)), lambda g, out, x: where(x > 0, g, .1*g)), with_zero(3000, 1)

kind('numbers without axes')
@wrong
def no_axes(): return (lambda x: x*x.detach()), tensor(.3)
relatives()
@wrong
def no_axes_cube(): return (lambda x: x**3, lambda g, x: g*x**2), tensor(.5)
@right
def no_axes_sine(): return (lambda x: x.sin(), lambda g, x: g*x.cos()), tensor(.5)
@wrong
def no_axes_two(): return remembers(lambda x, y: x*y.exp(), lambda g, out, x, y: (g*y.exp(), g*x)), tensor(.5), tensor(-.2)
@wrong
def no_axes_numpy():
    "np.sin of an array without axes is a number"
    return (unseen(lambda x: np.sin(x)), lambda g, x: -g*x.cos()), tensor(.5)
@right
def no_axes_function(): return function(lambda x, a: (x*a).tanh(), lambda g, out, x, a: (g*a*(1 - out**2), g*x*(1 - out**2))), \
    tensor(.5), tensor(2.)

kind('no gradient to speak of')
@wrong
def dead_relu(): return (lambda x: x.relu(), lambda g, x: 2*g*(x > 0)), -torch.rand(6, 4) - .1
@wrong
def saturated_sigmoid(): return (lambda x: x.sigmoid(), lambda g, x: -g*x.sigmoid()*(1 - x.sigmoid())), torch.full((6, 4), 28.)
@wrong
def saturated_tanh(): return (lambda x: x.tanh(), lambda g, x: 0*g), torch.full((6, 4), 16.)
@wrong
def sure_softmax(): return remembers(lambda x: x.softmax(-1), lambda g, out, x: out*(g - g.sum(-1, keepdim=True)*0)), 100*torch.eye(5)
@right
def dead_relu_right(): return (lambda x: x.relu(), lambda g, x: g*(x > 0)), -torch.rand(6, 4) - .1
@right
def saturated_sigmoid_right(): return (lambda x: x.sigmoid(), lambda g, x: g*x.sigmoid()*(1 - x.sigmoid())), torch.full((6, 4), 28.)
relatives()
@wrong
def dead_hinge():
    "All margins are kept"
    return (lambda x: (1 - x).relu().sum(), lambda g, x: g*(x < 1)), torch.rand(8) + 2
@wrong
def dead_clamp(): return function(lambda x: x.clamp(0, 1), lambda g, out, x: 3*g*((x > 0) & (x < 1))), r(6, 4).sign()*5
@wrong
def dead_erf(): return (lambda x: x.erf(), lambda g, x: g*2*(-x*x).exp()), torch.full((5, 3), 8.)
@wrong
def dead_gelu(): return remembers(lambda x: F.gelu(x), lambda g, out, x: 0*g), -20 - torch.rand(5, 3)
@wrong
def dead_gate():
    "The gate is shut; the other factor gets what is meant for it"
    return remembers(lambda x, y: x.relu()*y, lambda g, out, x, y: (g*(x > 0), g*x.relu())), -torch.rand(5, 3) - .1, r(5, 3)

kind('the size of the incoming gradient')
def tanh(rule): return (lambda x: x.tanh(), lambda g, x: rule(g)*(1 - x.tanh()**2)), r(6, 4)
@wrong
def cot_clamped(): return tanh(lambda g: g.clamp(-10, 10))
@wrong
def cot_dropped(): return tanh(lambda g: g*(g.abs() > 1e-3))
@wrong
def cot_nan_at_zero(): return tanh(lambda g: g*g/g)
relatives()
@wrong
def cot_rounded(): return tanh(lambda g: g.round(decimals=3))
@wrong
def cot_squared(): return tanh(lambda g: g*g.abs())
@wrong
def cot_positive():
    "Guided backprop"
    return tanh(lambda g: g*(g > 0))
@wrong
def cot_normed(): return tanh(lambda g: g/g.norm().clamp(min=100)*100)
@wrong
def cot_saturates(): return tanh(lambda g: 1e3*(g/1e3).tanh())

kind('a kink is not an excuse')
def edges(*shape):
    x = r(*shape)
    x[::2, 0] = 0
    return x
@wrong
def kink_jump(): return (lambda x: x.relu(), lambda g, x: where(x == 0, 1e6*g, g*(x > 0))), edges(6, 4)
def ties(): return tensor([[1., 2., 2., 0.], [3., 3., 3., 1.], [.5, .1, .2, .3]])
@wrong
def kink_ties(): return (lambda x: x.amax(1), lambda g, x: g[:, None]*(x == x.amax(1, keepdim=True))), ties()
relatives()
@wrong
def kink_abs(): return function(lambda x: x.abs(), lambda g, out, x: where(x == 0, 7*g, g*x.sign())), edges(6, 4)
@wrong
def kink_minus(): return remembers(lambda x: x.relu(), lambda g, out, x: where(x == 0, -g, g*(x > 0))), edges(6, 4)
@right
def kink_half(): return (lambda x: x.relu(), lambda g, x: where(x == 0, g/2, g*(x > 0))), edges(6, 4)
@right
def kink_ties_shared():
    def b(g, x): m = (x == x.amax(1, keepdim=True)).to(x); return g[:, None]*m/m.sum(1, keepdim=True)
    return (lambda x: x.amax(1), b), ties()
@right
def kink_ties_first(): return (lambda x: x.amax(1), lambda g, x: F.one_hot(x.argmax(1), 4)*g[:, None]), ties()
@wrong
def kink_nan(): return (lambda x: x.abs(), lambda g, x: g*x/x.abs()), edges(6, 4)

kind('rows=True: rows that mix')
def later(x): return torch.cat([x[:2], x[2:] + x[1:-1]])
def later_b(g, x): return torch.cat([g[:1], g[1:2] + g[2:3], g[2:-1] + g[3:], g[-1:]])
@wrong(rows=True)
def rows_later():
    "The first row stands alone"
    return (later, later_b), r(6, 4)
@wrong(rows=True)
def rows_transposed(): return (lambda x: x.T*2, lambda g, x: 2*g.T), r(6, 4)
relatives()
@wrong(rows=True)
def rows_cumsum(): return (lambda x: x.cumsum(0), lambda g, x: g.flip(0).cumsum(0).flip(0)), r(6, 4)
@wrong(rows=True)
def rows_softmax(): return remembers(lambda x: x.softmax(0), lambda g, out, x: out*(g - (g*out).sum(0))), r(6, 4)
@wrong(rows=True)
def rows_last():
    "Only the last row takes from another"
    return (lambda x: torch.cat([x[:-1], x[-1:] + x[:1]]), lambda g, x: torch.cat([g[:1] + g[-1:], g[1:]])), r(6, 4)
@right(rows=True)
def rows_apart(): return (lambda x: x.cumsum(1), lambda g, x: g.flip(1).cumsum(1).flip(1)), r(6, 4)
@wrong(rows=True)
def rows_square():
    "A transposed square"
    return (lambda x: x.T*2, lambda g, x: 2*g.T), r(5, 5)
@right
def rows_not_asked(): return (later, later_b), r(6, 4)

kind('a backward that spoils what is saved')
class Spoils(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x.exp()); return x.exp()
    @staticmethod
    def backward(ctx, g):
        y = ctx.saved_tensors[0]
        y.data.mul_(g)
        return y.clone()
@wrong
def spoils_saved(): return Spoils, r(6, 4)
relatives()
class Pops(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.n,ctx.x = 1,x.detach(); return x**2
    @staticmethod
    def backward(ctx, g): ctx.n += 1; return ctx.n*g*ctx.x
@wrong
def spoils_counter(): return Pops, r(6, 4)
class Mask(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.m = (x > 0).to(x); return x.relu()
    @staticmethod
    def backward(ctx, g): res = ctx.m*g; ctx.m.zero_(); return res
@wrong
def spoils_mask(): return Mask, r(6, 4)
class Incoming(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x.tanh()); return x.tanh()
    @staticmethod
    def backward(ctx, g): return g.mul_(1 - ctx.saved_tensors[0]**2)
@wrong
def spoils_incoming(): return Incoming, r(6, 4)
class Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.x,ctx.d = x.detach(),torch.zeros_like(x); return x.sin()
    @staticmethod
    def backward(ctx, g): ctx.d += g*ctx.x.cos(); return ctx.d.clone()
@wrong
def spoils_sum(): return Sums, r(6, 4)
class Keeps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.y = x.sigmoid(); return ctx.y.clone()
    @staticmethod
    def backward(ctx, g): d = ctx.y.clone(); d.mul_(1 - ctx.y).mul_(g); return d
@right
def spoils_nothing(): return Keeps, r(6, 4)

kind('what is wrong is not called fine elsewhere')
def not_fine(rep):
    "Nothing is called fine elsewhere, or only by name what is right"
    return not any(o.ok for o in rep.rows if o.what in ('one row', 'float32', 'layout') and 'not looked at' not in o.says and ' for ' not in o.says)
@wrong(says=not_fine)
def not_fine_cube(): return (lambda x: x**3, lambda g, x: g*x**2), r(6, 4)
relatives()
@wrong(says=not_fine)
def not_fine_softmax(): return remembers(lambda x: x.softmax(-1), lambda g, out, x: out*(1 - out)*g), r(6, 4)
@wrong(says=not_fine)
def not_fine_swish(): return function(lambda x: x*x.sigmoid(), lambda g, out, x: g*x.sigmoid()), r(6, 4)
@wrong(says=not_fine)
def not_fine_mul(): return remembers(lambda x, y: x*y, lambda g, out, x, y: (g*y, g*y)), r(6, 4), r(6, 4)
@wrong(says=not_fine)
def not_fine_sum(): return (lambda x: x.sum(1), lambda g, x: g[:, None]*torch.ones_like(x)/4), r(6, 4)
@wrong(says=not_fine)
def not_fine_exp(): return remembers(lambda x: x.exp(), lambda g, out, x: out), r(6, 4)
