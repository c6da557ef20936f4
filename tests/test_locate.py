"""Which line is wrong? Mistakes planted in the backward passes of `locate_cases`, and the same passes as they are, which are right."""
import copy, linecache
import numpy as np, pytest, torch
from locate_cases import aside, fresh, planted, rights
from backprop_nb.check.locate import locate
from backprop_nb.modules import Linear, Module, ReLU, Residual, Sequential

def load(src, name):
    "The names that a text defines; it has lines, as if it were a file"
    file = f'<{name}>'
    linecache.cache[file] = len(src), None, src.splitlines(True), file
    names = {'__name__': name}
    exec(compile(src, file, 'exec'), names)
    return names

def run(which, *subs):
    "locate on one of the texts, with (old, new) put in; and the lines that were changed"
    src = rights[which]
    for old,new in subs:
        assert src.count(old) == 1, f'{old} is there {src.count(old)} times'
        src = src.replace(old, new)
    lines = [i for i,(a,b) in enumerate(zip(rights[which].splitlines(), src.splitlines()), 1) if a != b]
    names = load(src, f'{which}, {subs}')
    return locate(names['layer'], *names['ins']()), lines

@pytest.mark.parametrize('which', rights)
def test_right(which):
    res,_ = run(which)
    assert res.ok is True and res.verdict == 'right' and res, res
    assert not any(r.ok is False for r in res.rows)

@pytest.mark.parametrize('which,old,new', [*planted, *aside])
def test_line(which, old, new):
    res,lines = run(which, (old, new))
    assert res.ok is False and res.line in lines, res

@pytest.mark.parametrize('which,old,new', fresh)
def test_fresh(which, old, new):
    res,lines = run(which, (old, new))
    assert res.ok is False and (res.line in lines or res.name == 'l1.g'), res   # in a helper of the seed: the call of it

@pytest.mark.parametrize('which,old,new,says', [
    ('mlp', 'dhpreact = (1.0 - h**2) * dh', 'dhpreact = dh.clone()', 'right up to `dh`; the factor `(1 - h**2)` is missing'),
    ('mlp', 'dcounts_sum = (-counts_sum', 'dcounts_sum = (counts_sum', 'it has the wrong sign'),
    ('mlp', '(1.0/(n-1))*torch', '(1.0/n)*torch', '`n` stands where `n - 1` belongs'),
    ('attention', 'dL_dx = dL_dq @ Wq.T + dL_dk @ Wk.T', 'dL_dx = dL_dq @ Wq.T', 'what comes by way of `x` in line 6 of the forward pass is missing'),
    ('lstm', 'd_c = d_c + d_tc', 'd_c = d_tc', 'the earlier value of `d_c` is overwritten'),
    ('lstm', '[d_a_i, d_a_f,', '[d_a_f, d_a_i,', 'are interchanged'),
    ('rnn', 'dhnext = Whh.T @', 'dhnext = Whh @', '`Whh` is used without its transpose'),
    ('rnn', 'dh = Why.T @ dy + dhnext', 'dh = Why.T @ dy', 'wrong from t = 2 on; the term `dhnext` is missing'),
    ('rnn', 'dWhh += dhraw @ hs[t-1].T', 'dWhh += dhraw @ hs[t].T', '`hs[t]` stands where `hs[t - 1]` belongs'),
    ('layernorm', '(xhat_grad*xc).sum(', '(xhat_grad*xc).mean(', '`mean` stands where `sum` belongs'),
    ('no names', 'np.where(q > 0, k, 0)', 'np.where(q < 0, k, 0)', 'the comparison `q < 0` is the wrong way round')])
def test_says(which, old, new, says):
    res,_ = run(which, (old, new))
    assert says in res.says, res.says

def test_fix_is_right():
    "The line that is proposed, put in, is right"
    for which,old,new in planted[:8]:
        res,_ = run(which, (old, new))
        if res.fix: assert run(which, (old, new), (res.source, res.fix))[0], res

def test_two_mistakes():
    res,_ = run('lstm', ('d_a_f = d_f*f*(1 - f)', 'd_a_f = d_f*f'), ('d_z.sum(0)', 'd_z.mean(0)'))
    assert res.name == 'd_a_f' and [r.name for r in res.rows if r.ok is False] == ['d_a_f', 'd_b']
    assert 'once line' in next(r for r in res.rows if r.name == 'd_x').says

def test_raises():
    res,_ = run('attention', ('dL_dy @ v.transpose(-2, -1)', 'dL_dy @ v'))
    assert res.name == 'dL_datt' and 'raises RuntimeError' in res.says and 'without its transpose' in res.says
    res,lines = run('one name again and again', ('g = g @ self.w2.T', 'g = g @ self.w2'))
    assert res.line in lines and res.fix == 'g = g @ self.w2.T'

def test_earlier_line_than_the_one_that_raises():
    res,lines = run('batchnorm', ('grad_x_hat = grad_out*self.gamma', 'grad_x_hat = (grad_out*self.gamma).T'))
    assert res.line in lines and 'raises' in ' '.join(res.notes), res

def test_helper_is_to_blame():
    "The mean of the short formula is the gradient of nothing, and is named nevertheless"
    res,lines = run('short batch norm', ('b = (g*xh).mean(0)', 'b = (g*xh).sum(0)'))
    assert res.name == 'b' and res.line in lines

def test_parts_are_no_mistakes():
    "A sum that is made in two lines: the first is not called wrong, though its name says more than it is"
    res,_ = run('bars', ('s_bar = act_bar*a', 's_bar = act_bar*s'))
    parts = [r for r in res.rows if r.name in ('a_bar', 'x_bar')]
    assert len(parts) == 4 and all(r.ok is True for r in parts) and 'by way of' in parts[0].says

def test_what_is_seen_at_one_place_only():
    "gamma is all ones: what is missing shows where it is not"
    res,_ = run('batchnorm', ('grad_x_hat = grad_out*self.gamma', 'grad_x_hat = grad_out'))
    assert 'the factor `self.gamma` is missing' in res.says

def test_nothing_of_the_owner_changes():
    names = load(rights['batchnorm'], 'owner')
    layer,(x,) = names['layer'],names['ins']()
    before,state,rng = x.clone(),copy.deepcopy(vars(layer)),torch.get_rng_state()
    assert locate(layer, x)
    assert torch.equal(x, before) and vars(layer).keys() == state.keys() and torch.equal(torch.get_rng_state(), rng)
    assert not hasattr(x, 'g') and x.grad is None and not x.requires_grad

def test_globals_and_closures():
    "A notebook's weights are globals; a factory closes over them"
    src = '''
import torch
W = torch.randn(4,3)
def forward(x):
    global h
    h = x @ W
    return torch.tanh(h)
def backward(dout):
    dh = dout*(1 - torch.tanh(h)**2)
    dW = {}
    dx = dh @ W.T
    return dict(x=dx, W=dW)
def make(scale):
    def forward(x):
        y = x*scale
        return y*y
    def backward(dout, x, y):
        dy = 2*y*dout
        return dy*scale
    return forward, backward
'''
    names = load(src.replace('{}', 'x.T @ dh').replace('(dout):', '(dout, x):'), 'globals')
    assert locate((names['forward'], names['backward']), torch.randn(5,4))
    assert locate(names['make'](torch.tensor([2.,3.])), torch.randn(5,2))
    names = load(src.replace('{}', 'x.T @ dout').replace('(dout):', '(dout, x):'), 'globals2')
    assert locate((names['forward'], names['backward']), torch.randn(5,4)).name == 'dW'
    assert torch.is_tensor(names['W']) and names['W'].dtype == torch.float32 and 'h' not in names

def test_detach_is_judged_by_differences():
    "A forward pass with .detach() in it: autograd and the mathematics differ, and the mathematics counts"
    src = '''
def forward(x):
    s = x.sum(1, keepdim=True).detach()
    y = x*s
    return y
def backward(dy, x, s):
    ds = (dy*x).sum(1, keepdim=True)
    dx = dy*s + ds
    return dx
'''
    names,x = load(src, 'detach'),torch.randn(4,3)
    assert locate((names['forward'], names['backward']), x)
    names = load(src.replace(' + ds', ''), 'detach2')   # as autograd has it, which its author may mean
    res = locate((names['forward'], names['backward']), x)
    assert res and 'as autograd has it' in ' '.join(res.notes)
    names = load(src.replace(' + ds', ' - ds'), 'detach3')
    assert locate((names['forward'], names['backward']), x).line == 8

def test_a_method_may_call_a_function_of_its_name():
    src = '''
import torch
def forward(x, w): return x @ w
def backward(g, x, w): return g @ w.T, x.T @ g
class Net:
    def __init__(self): self.w = torch.ones(3,2)
    def forward(self, x):
        self.x = x
        return forward(x, self.w)
    def backward(self, g):
        dx, self.dw = backward(g, self.x, self.w)
        return dx
layer = Net()
'''
    assert locate(load(src, 'shadow')['layer'], torch.randn(4,3))

def test_nothing_to_compare():
    src = '''
def forward(x): return x.round()
def backward(g): return g
class Linear:
    def __init__(self, w): self.w = w
    def forward(self, x):
        self.x = x
        return x @ self.w
    def backward(self, g): return g @ self.w.T
'''
    names = load(src, 'nothing')
    assert 'derivative of the forward pass is zero' in locate((names['forward'], names['backward']), torch.randn(4,3)).problem
    assert 'no gradient was found for `self.w`' in locate(names['Linear'](torch.randn(3,2)), torch.randn(4,3)).problem

def test_dropout_is_the_same_each_time():
    src = '''
import torch
def forward(x):
    mask = (torch.rand_like(x) > .5).to(x)
    y = x*mask*2
    return y*y
def backward(dout, x, mask, y):
    dy = 2*y*dout
    return dy*mask*2
'''
    names = load(src, 'dropout')
    assert locate((names['forward'], names['backward']), torch.randn(6,5))
    names = load(src.replace('return dy*mask*2', 'return dy*mask'), 'dropout2')
    assert 'the factor 2 is missing' in locate((names['forward'], names['backward']), torch.randn(6,5)).says

class BadLinear(Linear):
    def bwd(self, out, x):
        x.g = out.g @ self.w.T
        self.w.g = x.T @ out.g
        self.b.g = out.g.mean(0)
class BadResidual(Residual):
    def bwd(self, out, x): x.g = self.f.backward(out.g)
class Raises(Linear):
    def bwd(self, out, x):
        self.w.g = x.T @ out.g
        self.b.g = out.g.sum(0)
        x.g = out.g @ self.w
class Tied(Module):
    tied = 'b.w', 'b.b'
    def __init__(self, w, b): self.a,self.b = Linear(w, b),Linear(w, b)
    def forward(self, x): return self.b(self.a(x))
    def bwd(self, out, x): x.g = self.a.backward(self.b.backward(out.g))

def net(linear=Linear, residual=Residual):
    def r(*s): return torch.randn(*s)
    def block(l, k): return k(Linear(r(4,4), r(4)), ReLU(), l(r(4,4), r(4)))
    return Sequential(Linear(r(5,4), r(4)), block(Linear, Residual), block(linear, residual), Linear(r(4,1), r(1)))

def test_tree():
    torch.manual_seed(0)
    assert locate(net(), torch.randn(7,5))
    assert locate(Tied(torch.randn(3,3), torch.randn(3)), torch.randn(5,3))
    res = locate(net(BadLinear), torch.randn(7,5))
    assert res.path == '2.f.2' and '`mean` stands where `sum` belongs' in res.says and res.fix == 'self.b.g = out.g.sum(0)'
    assert {r.name for r in res.rows if r.ok is False} == {'2.f.2'} and {r.name for r in res.rows if r.ok is None} == {'2.f', '2', 'Sequential'}
    assert locate(net(residual=BadResidual), torch.randn(7,5)).path == '2'
    assert locate(net(Raises), torch.randn(7,5)).path == '2.f.2'

@pytest.mark.parametrize('layer,says', [
    ((lambda x: x, lambda g: g), 'a lambda has no lines'), (torch.nn.Linear(3,3), 'needs a forward and a backward'),
    ((torch.tanh, torch.tanh), 'is not to be found'), (net, 'a function alone has no backward pass')])
def test_not_checked(layer, says):
    res = locate(layer, torch.randn(4,3))
    assert res.ok is None and res.verdict == 'not checked' and not res and says in res.problem and says in str(res) and says in res._repr_html_()

def test_shown():
    res,_ = run('lstm', ('d_a_f = d_f*f*(1 - f)', 'd_a_f = d_f*f'))
    html = res._repr_html_()
    assert html.count('<b>WRONG</b>') == 1 and 'def lstm_cell_backward' in html and '&' not in html.replace('&#x27;', '').replace('&lt;', '').replace('&gt;', '').replace('&amp;', '')
    assert str(res) == repr(res) and res.source == 'd_a_f = d_f*f' and res.line == 25 and 'right would be: d_a_f = d_f * f * (1 - f)' in str(res)
