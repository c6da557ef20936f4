"Forms in which layers are handed over: lists, dicts, other verbs, methods, networks of functions"
import torch
import numpy as np
from torch import nn
from .table import Ref, Table

table = Table()
right,wrong,unchecked,kind,relatives = table.right,table.wrong,table.unchecked,table.kind,table.relatives
r,rand = torch.randn,torch.rand

kind('inputs in tuples and dicts')
class FunctionNode:
    "Takes and gives tuples"
    def forward(self, inputs): x, = inputs; self.x = x; return x*x,
    def backward(self, indexes, gy): return 2*self.x*gy[0],
class Old:
    def forward(self, inputs): x, = inputs; return x*x,
    def backward(self, inputs, gy): return 2*inputs[0]*gy[0],
@right(also='not checked', ref=False)
def chainer_node(): return FunctionNode(), (r(5, 4),)
@unchecked(also='right', ref=False)
def chainer_node_tensor():
    "x, = inputs does not work with a tensor of five rows"
    return FunctionNode(), r(5, 4)
@right(also='not checked', ref=False)
def chainer_old(): return Old(), (r(5, 4),)
def sig(x, derivative=False): return x*(1 - x) if derivative else 1/(1 + torch.exp(-x))
def lstm(z, C, Wf, Wi, Wg, Wo):
    f,i,o = sig(Wf@z),sig(Wi@z),sig(Wo@z)
    return o*torch.tanh(f*C + i*torch.tanh(Wg@z))
def lstm_b(df_rule):
    def bwd(dh, z, C, Wf, Wi, Wg, Wo):
        f,i,o = sig(Wf@z),sig(Wi@z),sig(Wo@z); g = torch.tanh(Wg@z)
        t = torch.tanh(f*C + i*g)
        do,dC = sig(o, True)*(dh*t),dh*o*(1 - t**2)
        dg,di,df = (1 - g**2)*(dC*i),sig(i, True)*(dC*g),df_rule(f)*(dC*C)
        return Wf.T@df + Wi.T@di + Wg.T@dg + Wo.T@do, f*dC, df@z.T, di@z.T, dg@z.T, do@z.T
    return bwd
lstm_wrong,lstm_right = lstm_b(sig),lstm_b(lambda f: sig(f, True))
def lstm_in(): return r(5, 1), r(3, 1), r(3, 5), r(3, 5), r(3, 5), r(3, 5)
def as_tuple(b): return (lambda z, C, p: lstm(z, C, *p), lambda dh, z, C, p: b(dh, z, C, *p))
@wrong(ref=lambda: Ref(lstm, lstm_wrong, lstm_in()))
def lstm_forget_gate(): return (lstm, lstm_wrong), *lstm_in()
@wrong(ref=lambda: Ref(lstm, lstm_wrong, lstm_in()))
def lstm_forget_gate_first():
    z,C,*W = lstm_in()
    return as_tuple(lstm_wrong), z, C, tuple(W)
@right(ref=lambda: Ref(lstm, lstm_right, lstm_in()))
def lstm_right_pair(): return (lstm, lstm_right), *lstm_in()
def pool(x, p):
    k,s = p['k'],p['stride']; n = (x.shape[2] - k)//s + 1
    return torch.stack([torch.stack([x[:, :, i*s:i*s + k, j*s:j*s + k].amax((2, 3)) for j in range(n)], -1) for i in range(n)], -2)
def pool_b(dout, x, p):
    k,s = p['k'],p['stride']; dx = torch.zeros_like(x)
    for a in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    m = x[a, c, i*s:i*s + k, j*s:j*s + k].argmax().item()
                    dx[a, c, i*s + m//k, j*s + m % k] = dout[a, c, i, j]   # += is needed where windows overlap
    return dx
P = {'k': 3, 'stride': 1}
@wrong(ref=lambda: Ref(lambda x: pool(x, P), lambda g, x: [pool_b(g, x, P)], (r(1, 2, 5, 5),)))
def maxpool_overlap_first(): return (pool, pool_b), r(2, 2, 5, 5), P
@wrong
def maxpool_overlap(): return (lambda x: pool(x, P), lambda dout, x: pool_b(dout, x, P)), r(2, 2, 5, 5)
def net(X, Y, W1, b1, W2, b2, W3, b3):
    m = X.shape[1]
    Z1 = W1@X + b1; A1 = Z1.relu(); Z2 = W2@A1 + b2; A2 = Z2.relu(); A3 = (W3@A2 + b3).sigmoid()
    return (-A3.log()*Y - (1 - A3).log()*(1 - Y)).sum()/m, (Z1, A1, Z2, A2, A3)
def net_b(X, Y, cache, W2, W3, two=2, four=4.):
    m = X.shape[1]; Z1,A1,Z2,A2,A3 = cache
    dZ3 = A3 - Y; dZ2 = (W3.T@dZ3)*(A2 > 0); dZ1 = (W2.T@dZ2)*(A1 > 0)
    def s(z): return z.sum(1, keepdim=True)/m
    return dict(dW1=dZ1@X.T/m, db1=four*s(dZ1), dW2=dZ2@A1.T/m*two, db2=s(dZ2), dW3=dZ3@A2.T/m, db3=s(dZ3))
class Net:
    def __init__(self, *ps, **kw): self.p,self.kw = dict(zip('W1 b1 W2 b2 W3 b3'.split(), ps)),kw
    def forward(self, X, Y): self.X,self.Y = X,Y; loss,self.cache = net(X, Y, **self.p); return loss
    def backward(self, g):
        gs = net_b(self.X, self.Y, self.cache, self.p['W2'], self.p['W3'], **self.kw)
        for k,v in self.p.items(): v.g = gs['d' + k]
def net_in():
    torch.manual_seed(1)
    return r(4, 3), (rand(1, 3) > .5).float(), r(5, 4), r(5, 1), r(3, 5), r(3, 1), r(1, 3), r(1, 1)
def net_layer(**kw): X,Y,*ps = net_in(); return Net(*ps, **kw), X, Y
@wrong(also='not checked', ref=False)
def network_of_functions_first(): return (net, net_b), *net_in()
@wrong(data=('X', 'Y'), ref=False)
def network_of_functions(): return net_layer()
@wrong(ref=False)
def network_of_functions_all():
    "X and Y are not told to be data"
    return net_layer()
@right(data=('X', 'Y'), ref=False)
def network_of_functions_right(): return net_layer(two=1, four=1.)
relatives()
def two_dict(x, p): return x@p['w'] + p['b']
def two_dict_b(g, x, p): return g@p['w'].T, {'w': x.T@g, 'b': g.sum(0)}
two_ref = lambda k: Ref(lambda x, w, b: x@w + b, lambda g, x, w, b: (g@w.T, k*x.T@g, g.sum(0)), (r(6, 4), r(4, 3), r(3)))
@right(ref=lambda: two_ref(1))
def inputs_in_a_dict(): return (two_dict, two_dict_b), r(6, 4), {'w': r(4, 3), 'b': r(3)}
@wrong(ref=lambda: two_ref(3))
def inputs_in_a_dict_wrong():
    return (two_dict, lambda g, x, p: (g@p['w'].T, {'w': 3*x.T@g, 'b': g.sum(0)})), r(6, 4), {'w': r(4, 3), 'b': r(3)}
@right(ref=lambda: two_ref(1))
def inputs_in_a_list(): return (lambda x, p: x@p[0] + p[1], lambda g, x, p: (g@p[0].T, [x.T@g, g.sum(0)])), r(6, 4), [r(4, 3), r(3)]
@right(ref=False)
def module_of_a_tuple():
    class Pair(nn.Module):
        def forward(self, ab): return ab[0]*ab[1]
    return Pair(), (r(4, 3), r(4, 3))
@right(ref=False)
def module_of_a_dict():
    class D(nn.Module):
        def forward(self, d): return d['x'].tanh()*d['scale']
    return D(), {'x': r(4, 3), 'scale': r(3)}
@wrong(ref=False)
def module_of_a_tuple_wrong():
    class Pair(nn.Module):
        def forward(self, ab): return ab[0]*ab[1].detach() + 0*ab[1]
    return Pair(), (r(4, 3), r(4, 3))

kind('a rule under another verb')
class Softmax:
    def __call__(self, x): e = torch.exp(x - x.max(-1, keepdim=True).values); return e/e.sum(-1, keepdim=True)
    def gradient(self, x): p = self(x); return p*(1 - p)
@wrong(also='not checked', ref=False)
def softmax_gradient_first(): return Softmax(), r(5, 4)
@wrong
def softmax_gradient():
    s = Softmax()
    return (lambda x: s(x), lambda g, x: g*s.gradient(x)), r(5, 4)
class Tanh:
    def __call__(self, x): return x.tanh()
    def derivative(self, x): return 1 - x**2
class Backprop:
    def __init__(self): self.w = r(4, 3)
    def __call__(self, x): self.x = x; return x@self.w
    def backprop(self, d): self.dw = self.x.T@d*5; return d@self.w.T*3
class Plain:
    def forward(self, x): return x.tanh()
    def backprop(self, d): return d
def unless_run(**kw): return wrong(also='not checked', ref=False, **kw)
@unless_run()
def derivative_method(): return Tanh(), r(6, 4)
@unless_run()
def backprop_method(): return Backprop(), r(6, 4)
@unless_run()
def backprop_method_forward(): return Plain(), r(6, 4)
class Value:
    "The diagonal has value*(1 - input), nothing comes in, and the gradient is left in an attribute"
    def forward(self, x): self.input = x; e = torch.exp(x - x.max()); self.value = e/e.sum(); return self.value
    def backward(self):
        self.gradient = [0.]*6
        for i in range(6):
            for j in range(6): self.gradient[i] = self.value[i]*(1 - self.input[i]) if i == j else -self.value[i]*self.input[j]
class ValueCot(Value):
    def backward(self, grad):
        n = len(self.value); J = torch.zeros(n, n, dtype=grad.dtype)
        for i in range(n):
            for j in range(n): J[i, j] = self.value[i]*(1 - self.input[i]) if i == j else -self.value[i]*self.input[j]
        return J.T@grad
@unless_run()
def softmax_diagonal_first(): return Value(), r(6)
@wrong
def softmax_diagonal(): return ValueCot(), r(6)
class L:
    def __init__(self, dtype): self.W = r(4, 3, dtype=dtype)
    def forward(self, x): self.x = x; return x@self.W
    def backward(self, g): self.W.g = self.k*self.x.T@g; return g@self.W.T
    k = 9
class LRight(L): k = 1
def bound(cls, dtype): l = cls(dtype); return (l.forward, l.backward), r(6, 4, dtype=dtype)
@wrong(ref=False)
def bound_methods(): return bound(L, torch.float64)
@wrong(ref=False)
def bound_methods_float32(): return bound(L, torch.float32)
@right(ref=False)
def bound_methods_right(): return bound(LRight, torch.float64)
class Square(nn.Module):
    "A method backward, which nobody calls; nothing gets through detach"
    def forward(self, x): self.x = x; return torch.from_numpy(x.detach().numpy()**2)
    def backward(self, g): return 2*self.x*g
@wrong(also='not checked', ref=False)
def module_backward_never_called(): return Square(), r(5, 3)
class Trains(nn.Module):
    "A right module, whose `backward(loss)` is a training framework's"
    def __init__(self): super().__init__(); self.lin = nn.Linear(4, 3)
    def forward(self, x): return self.lin(x)
    def backward(self, loss): loss.backward()
@right(ref=False)
def module_backward_of_training(): return Trains(), r(5, 4)
relatives()
class Prime:
    def __call__(self, x): return x.sigmoid()
    def prime(self, x): return x.sigmoid()
@unless_run()
def prime_method(): return Prime(), r(6, 4)
class Vjp:
    def __call__(self, x): return x.exp()
    def vjp(self, g, x): return 2*g*x.exp()
@unless_run()
def vjp_method(): return Vjp(), r(6, 4)
class Deriv:
    def forward(self, x): return x**3
    def grad(self, x): return 3*x
@unless_run()
def grad_method(): return Deriv(), r(6, 4)
class BackwardPass:
    def forward_pass(self, x): self.x = x; return x.relu()
    def backward_pass(self, g): return g*(self.x > .5)
@unless_run()
def forward_pass_method(): return BackwardPass(), r(6, 4)
class DerivRight:
    def __call__(self, x): return x**3
    def derivative(self, x): return 3*x**2
@right(also='not checked', ref=False)
def derivative_right(): return DerivRight(), r(6, 4)
@wrong(ref=False)
def bound_of_two_objects():
    a,b = L(torch.float64),L(torch.float64)
    one = torch.ones(3, 4, dtype=torch.float64)
    return (lambda x: b.forward(a.forward(x)@one), lambda g: a.backward(b.backward(g)@one.T)), r(6, 4).double()
@wrong(ref=False)
def bound_numpy():
    class N:
        def __init__(self): self.W = np.random.normal(size=(4, 3))
        def forward(self, x): self.x = x; return x@self.W
        def backward(self, g): self.dW = 2*self.x.T@g; return g@self.W.T
    l = N()
    return (l.forward, l.backward), np.random.normal(size=(6, 4))
