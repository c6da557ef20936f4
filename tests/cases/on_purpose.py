"Rules that are no derivatives, and are wanted as they are; with what they are meant to be the derivative of"
import torch
from torch import nn
from .table import Table, function, remembers

table = Table()
wrong,kind,relatives = table.wrong,table.kind,table.relatives
r = torch.randn
def hard(x): return x.clamp(-1, 1)
def same(x): return x
def add(name, layer, inputs, **declared):
    "Plainly wrong; right with what is declared; wrong with another declaration"
    (what,(good,bad)), = declared.items()
    table.add(name, 'WRONG', lambda: (layer(), *inputs()))
    table.add(f'{name}_declared', 'right', lambda: (layer(), *inputs()), ref=False, **{what: good})
    table.add(f'{name}_declared_wrongly', 'WRONG', lambda: (layer(), *inputs()), ref=False, **{what: bad})

kind('on purpose')
add('ste_sign', lambda: function(torch.sign, lambda g, out, x: g*(x.abs() <= 1)), lambda: [r(6, 4)], surrogate=(hard, same))
add('ste_round', lambda: function(torch.round, lambda g, out, x: g), lambda: [r(6, 4)], surrogate=(same, torch.tanh))
add('clip_gradient', lambda: function(torch.clone, lambda g, out, x: g.clamp(-.5, .5)), lambda: [r(6, 4)],
    cotangent=(lambda g: g.clamp(-.5, .5), lambda g: g.clamp(-1, 1)))
add('norm_gradient', lambda: function(torch.clone, lambda g, out, x: g/g.norm().clamp(min=1.)), lambda: [r(6, 4)],
    cotangent=(lambda g: g/g.norm().clamp(min=1.), lambda g: g/g.norm()/2))
class GRL(nn.Module):
    "A module whose `backward` is never called: nothing is reversed"
    def forward(self, x): return x.clone()
    def backward(self, g): return -g
@wrong(also='not checked', ref=False)
def reversal_module_never_called(): return GRL(), r(5, 3)
def half(x):
    y = x.tanh()
    if y.requires_grad: y.register_hook(lambda g: g/2)
    return y*3
add('hook_halves', lambda: half, lambda: [r(5, 4)], cotangent=(lambda g: g/2, lambda g: g/3))
add('ste_detach', lambda: (lambda x: x + (x.round() - x).detach()), lambda: [r(5, 4)], surrogate=(same, torch.exp))
class Nearest(torch.autograd.Function):
    "The code book gets the sum that it should; x is passed straight through"
    @staticmethod
    def forward(ctx, x, emb): ctx.k = torch.cdist(x, emb).argmin(1); ctx.n = len(emb); return emb[ctx.k].clone()
    @staticmethod
    def backward(ctx, g): return g, g.new_zeros(ctx.n, g.shape[1]).index_add(0, ctx.k, g)
def book(x, emb): return x + emb[torch.cdist(x.detach(), emb.detach()).argmin(1)]
add('nearest_straight_through', lambda: Nearest, lambda: [r(9, 3), r(4, 3)], surrogate=(book, lambda x, emb: 2*x + book(x, emb) - x))
relatives()
add('reversal', lambda: function(torch.clone, lambda g, out, x: -.3*g), lambda: [r(5, 3)], cotangent=(lambda g: -.3*g, lambda g: .3*g))
add('heaviside', lambda: (lambda x: (x > 0).to(x), lambda g, x: g/(1 + 10*x.abs())**2), lambda: [r(6, 4)],
    surrogate=(lambda x: x/(1 + 10*x.abs()), torch.sigmoid))
add('argmax_soft', lambda: remembers(lambda x: torch.nn.functional.one_hot(x.argmax(1), 4).to(x),
    lambda g, out, x: x.softmax(1)*(g - (g*x.softmax(1)).sum(1, keepdim=True))), lambda: [r(6, 4)],
    surrogate=(lambda x: x.softmax(1), lambda x: (2*x).softmax(1)))
add('floor_scaled', lambda: (lambda x, s: (x/s).floor()*s, lambda g, x, s: (g, torch.zeros_like(s))), lambda: [r(6, 4), torch.rand(4) + .5],
    surrogate=(lambda x, s: x + 0*s, lambda x, s: x*s))
add('clipped_tanh', lambda: remembers(torch.tanh, lambda g, out, x: g.clamp(-.1, .1)*(1 - out**2)), lambda: [r(6, 4)],
    cotangent=(lambda g: g.clamp(-.1, .1), lambda g: g.clamp(-.2, .2)))
