"A case, and what the tables of cases are written with"
from dataclasses import dataclass
import numpy as np, torch

RIGHT,WRONG,UNCHECKED = 'right','WRONG','not checked'

@dataclass
class Case:
    "Arguments of `check_layer`, and what it must say of them"
    name: str                  # as in `pytest -k name`
    build: callable            # () -> (args, kwargs) of check_layer
    truth: str                 # the verdict
    also: tuple = ()           # other verdicts that are accepted
    kind: str = ''             # what goes wrong in all cases of this kind
    relative: bool = False     # not met, but made up to be of the same kind
    says: callable = None      # of the report: what else must hold
    ref: callable = None       # () -> Ref, for a style that `independent` does not run by itself; False where it cannot be
    @property
    def accepted(self): return {self.truth, *self.also}
    def make(self):
        "The arguments and keywords, the same each time"
        torch.manual_seed(0)
        np.random.seed(0)
        return self.build()

@dataclass
class Ref:
    "out = f(*values), and the gradients that the layer gives, as `independent` can run them"
    f: callable      # (*values) -> out
    grads: callable  # (g, *values) -> one gradient for each value
    values: tuple

class Table(list):
    "Cases. `@table.wrong(...)` adds one: a function that gives the layer and its inputs; keywords are those of check_layer, or of Case"
    def kind(self, now, relative=False): self.now,self.relative = now,relative
    def relatives(self): self.relative = True
    def add(self, name, truth, f, also=(), says=None, ref=None, **kw):
        also = (also,) if isinstance(also, str) else tuple(also)
        self.append(Case(name, lambda: (f(), kw), truth, also, self.now, self.relative, says, ref))
    def _as(self, truth, f=None, **kw):
        if f is None: return lambda f: self._as(truth, f, **kw)
        self.add(f.__name__, truth, f, **kw)
        return f
    def right(self, f=None, **kw): return self._as(RIGHT, f, **kw)
    def wrong(self, f=None, **kw): return self._as(WRONG, f, **kw)
    def unchecked(self, f=None, **kw): return self._as(UNCHECKED, f, **kw)

def function(forward, backward):
    "An autograd.Function of out = forward(*inputs), whose rule is backward(g, out, *inputs)"
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *ins):
            out = forward(*ins)
            ctx.save_for_backward(out, *ins)
            return out
        @staticmethod
        def backward(ctx, g): return backward(g, *ctx.saved_tensors)
    return Function

def remembers(forward, backward):
    "An object that keeps its inputs and its output: forward(*inputs), backward(g); the rule is backward(g, out, *inputs)"
    class Layer:
        def forward(self, *ins):
            self.ins,self.out = ins,forward(*ins)
            return self.out
        def backward(self, g): return backward(g, self.out, *self.ins)
    return Layer()

def unseen(f):
    "f, by way of NumPy, where autograd does not see it"
    def g(*ins): return torch.as_tensor(f(*[x.detach().numpy() for x in ins]))
    return g
