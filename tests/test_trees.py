"""A block with all that a tree can have, against autograd: alone, across the bridge, and beside its twin in PyTorch.

It has a residual block inside a residual block, dropout inside of both, two branches whose product is taken, and a weight with two
uses; its input is a batch of sentences, (n,t,d). Nothing here relies on the layers' own forwards being right: the oracle is a module
made of PyTorch's layers.
"""
import copy, pickle
import pytest, torch
from torch import nn
from torch.func import functional_call
from backprop_nb.classifier import Dropout
from backprop_nb.core.compare import rel_err
from backprop_nb.core.guards import refusal
from backprop_nb.modules import Linear, Module, ReLU, Residual, Sequential, forward_only, hooked, load_weights, save_weights
from backprop_nb.nn_module import AutogradLayer, Bridge, TorchResidual, as_module, from_torch, to_torch, to_torch_rules

d, p = 4, .3
def r(*shape): return torch.randn(*shape, dtype=torch.float64)

class Gated(Module):
    "a(x)*b(x): two branches, each of which is the slope of the other"
    def __init__(self, a, b): self.two = dict(a=a, b=b)
    def forward(self, x):
        self.saved = a, b = self.two['a'](x), self.two['b'](x)
        return a*b
    def bwd(self, out, x):
        a, b = self.saved
        x.g = self.two['b'].backward(out.g*a) + self.two['a'].backward(out.g*b)

class TorchGated(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.two = nn.ModuleDict(dict(a=a, b=b))
    def forward(self, x): return self.two['a'](x)*self.two['b'](x)

def block(lin=Linear, drop=Dropout, res=Residual, gated=Gated, seq=Sequential):
    w = r(d, d)
    inner = res(lin(r(d, d), r(d)), drop(p))
    return seq(res(lin(w, r(d)), ReLU(), inner, drop(p)), gated(lin(w, r(d)), lin(r(d, d), r(d))), tied=['1.two.a.w'])

def twin(net):
    "The same block of PyTorch's layers, its weights loaded by name from `net`"
    def lin(): return nn.Linear(d, d, dtype=torch.float64)
    inner = TorchResidual(lin(), nn.Dropout(p))
    there = nn.Sequential(TorchResidual(lin(), nn.ReLU(), inner, nn.Dropout(p)), TorchGated(lin(), lin()))
    there[1].two['a'].weight = there[0].f[0].weight
    there.load_state_dict(net.state_dict())
    return there.train(net.training)

def agree(a, b, bound=1e-10):
    assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
    assert b.isfinite().all() and b.abs().max() > 0 and rel_err(a.detach(), b.detach()) < bound, rel_err(a.detach(), b.detach())

def seeded(f, *args):
    torch.manual_seed(7)
    return f(*args)

def gradients(there, x, g):
    "(output, gradient of x, {name: gradient}) of a module of PyTorch; the weights as (d,k) and by our names"
    x = x.clone().requires_grad_()
    out = seeded(there, x)
    ps = dict(there.named_parameters())
    gx, *gs = torch.autograd.grad(out, [x, *ps.values()], g)
    said = {k.replace('weight', 'w').replace('bias', 'b'): o.T if k.endswith('weight') else o for k, o in zip(ps, gs)}
    return out.detach(), gx, said

def compare(net, shape=(2, 3, d)):
    "All gradients of the block `net` against its twin's"
    x, ps = r(*shape), dict(net.named_parameters())
    for q in ps.values(): q.g = torch.full_like(q, 99.)   # left over from earlier: must not count
    out = seeded(net, x)
    g = torch.randn_like(out)
    want, gx, gs = gradients(twin(net), x, g)
    agree(out, want)
    agree(net.backward(g), gx)
    assert ps.keys() == gs.keys()
    for k, q in ps.items(): agree(q.g, gs[k])

@pytest.fixture(params=[True, False], ids=['train', 'eval'])
def net(request):
    torch.manual_seed(42)
    return block().train(request.param)

@pytest.mark.parametrize('shape', [(2, 3, d), (7, d), (d,), (2, 1, 3, d)], ids=str)
def test_gradients_are_those_of_autograd(net, shape):
    for _ in range(3): compare(net, shape)    # nothing of one pass may get into the next
    assert all(m.memory is None for m in net.modules())

def test_named_as_in_pytorch(net):
    there = twin(net)
    assert list(net.state_dict()) == list(there.state_dict()) and len(net.parameters()) == len(list(there.parameters())) == 7
    for k, v in there.state_dict().items(): assert v.equal(net.state_dict()[k])

def test_saved_and_loaded(net, tmp_path):
    other, path = block().train(net.training), tmp_path/'w.safetensors'
    save_weights(net, path)
    load_weights(other, path)
    for a, b in zip(net.parameters(), other.parameters(), strict=True): assert a.equal(b) and a is not b
    assert other.layers[1].two['a'].w is other.layers[0].f.layers[0].w
    compare(other)

def test_moved(net):
    w = net.parameters()[0]
    net.to(torch.float32)
    assert {q.dtype for q in net.parameters()} == {torch.float32} and net.parameters()[0] is w is net.layers[1].two['a'].w
    x = torch.randn(2, 3, d)
    assert net(x).dtype == net.backward(x).dtype == w.g.dtype == torch.float32
    compare(net.to(torch.float64))
    other, brg = copy.deepcopy(net), as_module(net).to('meta')   # where there are shapes and no numbers
    x = torch.empty(2, 3, d, dtype=torch.float64, device='meta')
    assert other.to('meta')(x).shape == brg(x).shape == x.shape and brg(x).device.type == 'meta'
    assert other.backward(x).device.type == other.parameters()[0].g.device.type == 'meta' and other.layers[1].two['a'].w is other.parameters()[0]
    compare(net)                                                 # the tree behind the bridge has stayed

def test_modes_reach_every_layer(net):
    x = r(2, 3, d)
    assert seeded(net.train(), x).equal(net(x)) is False       # other coins
    assert all(not m.training for m in net.eval().modules()) and net(x).equal(net(x))
    compare(net)

def test_watched(net):
    x, told = r(2, 3, d), {}
    with hooked(net, lambda path, m, args, out: told.update({path: out})): out = seeded(net, x)
    assert list(told)[-1] == '' and told[''] is out and told.keys() == {path for path, _ in net.named_modules()}
    there, theirs = twin(net), {}
    for k, m in there.named_modules(): m.register_forward_hook(lambda m, args, out, k=k: theirs.update({k: out}))
    seeded(there, x)
    assert len(told) == 13
    for k in told: agree(told[k], theirs[k])
    agree(net.backward(torch.ones_like(out)), gradients(there, x, torch.ones_like(out))[1])

def test_remembers_nothing_where_it_is_only_used(net):
    x = r(2, 3, d)
    with forward_only(): out = seeded(net, x)
    assert all(m.memory is None and 'saved' not in vars(m) for m in net.modules())
    agree(out, seeded(twin(net), x))

def through(brg):
    names = [k for k, _ in brg.named_parameters()]
    return lambda x, *ps: seeded(lambda: functional_call(brg, dict(zip(names, ps)), x))

def leaves(brg, *shape): return [o.requires_grad_() for o in (r(*shape), *[r(*q.shape) for q in brg.parameters()])]

def test_bridge_by_differences(net):
    brg = as_module(net)
    assert isinstance(brg, Bridge) and torch.autograd.gradcheck(through(brg), leaves(brg, 2, 3, d))

def test_bridge_equals_the_twin(net):
    brg, there, x = Bridge(net), twin(net), r(2, 3, d)
    assert brg.training == net.training and [k for k, _ in brg.named_parameters()] == [k for k, _ in net.named_parameters()]
    for on in net.training, not net.training:
        g = r(2, 3, d)
        want, gx, gs = gradients(there.train(on), x, g)
        leaf = x.clone().requires_grad_()
        out = seeded(brg.train(on), leaf)
        assert {m.training for m in net.modules()} == {on}
        agree(out, want)
        got = torch.autograd.grad(out, [leaf, *brg.parameters()], g)
        for a, b in zip(got, [gx, *gs.values()], strict=True): agree(a, b)
    assert not any(hasattr(o, 'g') for o in (x, leaf, *net.parameters(), *brg.parameters())) and net.memory is None

def test_bridge_twice_in_one_graph(net):
    "Two calls, with other weights in the second, and the backwards in either order, and again"
    brg, there = Bridge(net), twin(net)
    x, y, g, h = [r(2, 3, d) for _ in range(4)]
    ps = [q.detach()*1.5 for q in brg.parameters()]
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    first, second = seeded(brg, a), through(brg)(b, *ps)
    _, gx, gs = gradients(there, x, g)
    there.load_state_dict({k: 1.5*v for k, v in there.state_dict().items()})
    _, gy, _ = gradients(there, y, h)
    for order in (0, 1), (1, 0):
        for i in order:
            out, leaf, ct, want = [(first, a, g, gx), (second, b, h, gy)][i]
            agree(torch.autograd.grad(out, leaf, ct, retain_graph=True)[0], want)
    for q, want in zip(torch.autograd.grad(first, list(brg.parameters()), g), gs.values(), strict=True): agree(q, want)

def test_bridge_gives_back_what_it_borrows(net):
    brg, x, mine = Bridge(net), r(2, 3, d), r(2, 3, d)
    before = [q.clone() for q in net.parameters()]
    seeded(net, mine)                                        # a call by hand that is still to go backward
    _, gx, gs = gradients(twin(net), mine, torch.ones_like(mine))
    through(brg)(*leaves(brg, 2, 3, d)).sum().backward()     # other parameters, through the same tree
    for q, was in zip(net.parameters(), before): assert q.equal(was)
    agree(net.backward(torch.ones_like(mine)), gx)
    for k, q in net.named_parameters(): agree(q.g, gs[k])
    class Fails(Linear):
        def bwd(self, out, x): raise ZeroDivisionError
    net.layers[1].two['b'].__class__ = Fails                 # and where a rule breaks down
    out = through(brg)(*leaves(brg, 2, 3, d)).sum()
    with pytest.raises(ZeroDivisionError): out.backward()
    for q, was in zip(net.parameters(), before): assert q.equal(was)

def test_bridge_trains_as_the_twin(net):
    brg, there = as_module(net), twin(net)
    opts = [torch.optim.SGD(o.parameters(), lr=1e-4, momentum=.9) for o in (brg, there)]
    for i in range(5):
        x, y = r(6, 3, d), r(6, 3, d)
        for o, opt in zip((brg, there), opts):
            torch.manual_seed(i)
            opt.zero_grad()
            ((o(x) - y)**2).mean().backward()
            opt.step()
    for a, b in zip(brg.parameters(), there.parameters(), strict=True): agree(a if a.dim() == 1 else a.T, b)
    for a, b in zip(net.parameters(), brg.parameters(), strict=True): assert a.equal(b)   # they share their memory

def test_bridge_goes_where_modules_go(net, tmp_path):
    brg, x = as_module(net), r(2, 3, d)
    torch.save(brg.state_dict(), tmp_path/'brg')
    other = as_module(block().train(net.training))
    other.load_state_dict(torch.load(tmp_path/'brg'))
    agree(seeded(other, x), seeded(brg, x))
    low = copy.deepcopy(brg).float()
    out = seeded(low, x.float())
    out.sum().backward()
    assert out.dtype == low.get_parameter('0.f.0.w').grad.dtype == torch.float32 and brg.get_parameter('0.f.0.w').grad is None
    agree(seeded(brg, x), seeded(other, x))

def test_mixed_tree_against_autograd():
    torch.manual_seed(42)
    norm, w = nn.LayerNorm(5, dtype=torch.float64), nn.Linear(5, 5, dtype=torch.float64)
    with torch.no_grad(): [q.normal_() for q in norm.parameters()]
    l = Linear(r(d, 5), r(5))
    inner = Residual(AutogradLayer(w), ReLU(), AutogradLayer(torch.tanh))
    net, x, g = Sequential(l, AutogradLayer(norm), inner), r(2, 3, d), r(2, 3, 5)
    v, b = [q.clone().requires_grad_() for q in (l.w, l.b)]
    leaf = x.clone().requires_grad_()
    mid = norm(leaf@v + b)
    want = mid + w(mid).relu().tanh()
    wants = torch.autograd.grad(want, [leaf, v, b, *norm.parameters(), *w.parameters()], g)
    names = ['0.w', '0.b', '1.weight', '1.bias', '2.f.0.weight', '2.f.0.bias']
    assert [k for k, _ in net.named_parameters()] == names and net.parameters()[2] is norm.weight
    for _ in range(2):
        agree(net(x), want)
        net.backward(g)
        for o, a in zip((x, *net.parameters()), wants, strict=True): agree(o.g, a)
        assert all(q.grad is None for q in net.parameters())
    brg = Bridge(net)
    leaf.grad = None
    brg(leaf).backward(g)
    for a, b in zip((leaf, *brg.parameters()), wants, strict=True): agree(a.grad, b)

def test_translated_with_its_ties(net):
    a, b, c = [Linear(r(d, d), r(d)) for _ in range(3)]
    b.w = c.w = a.w
    tree = Sequential(a, ReLU(), Residual(Residual(b), ReLU()), c, tied=['2.f.0.f.w', '3.w']).train(net.training)
    there, x, g = to_torch(tree), r(2, 3, d), r(2, 3, d)
    back = from_torch(there)
    want, gx, gs = gradients(there, x, g)
    assert there.training == back.training == tree.training and list(there.state_dict()) == list(back.state_dict()) == list(tree.state_dict())
    for o in tree, back:
        agree(o(x), want)
        agree(o.backward(g), gx)
        for k, q in o.named_parameters(): agree(q.g, gs[k])
    assert not {q.data_ptr() for q in tree.parameters()} & {q.data_ptr() for o in (there, back) for q in o.parameters()}

def test_bridge_takes_several_arguments():
    class Powers(Module):
        def forward(self, x, n, y): return x**n/y
        def bwd(self, out, x, n, y): x.g, y.g = out.g*n*x**(n-1)/y, -out.g*out/y
    brg, x, y = as_module(Powers()), r(7, 5).requires_grad_(), r(7, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: brg(x, 3, y), (x, y))
    brg(x, 3, x).sum().backward()                                # x**3/x
    agree(x.grad, 2*x.detach())

class Steady(Module):
    "x minus a running mean, which moves in training: in place, or by assignment"
    buffer_names = 'mean',
    def __init__(self, inplace): self.mean, self.inplace = torch.zeros(5), inplace
    def forward(self, x):
        if self.training:
            new = .5*self.mean + .5*x.mean(0)
            if self.inplace: self.mean.copy_(new)
            else: self.mean = new
        return x - self.mean.clone()
    def bwd(self, out, x): x.g = out.g

@pytest.mark.parametrize('inplace', [True, False])
def test_bridge_has_buffers(inplace):
    tree, x = Residual(Steady(inplace)), torch.ones(7, 5)
    brg = as_module(tree)
    assert list(dict(brg.named_buffers())) == ['f.mean'] and not list(brg.parameters())
    brg(x), brg(x)
    assert brg.f.mean.tolist() == tree.f.mean.tolist() == [.75]*5
    nn.Sequential(brg).eval()
    assert not any(m.training for m in tree.modules())
    brg(x)
    assert brg.f.mean.tolist() == [.75]*5
    brg.train().double()(x.double())
    assert brg.f.mean.dtype == torch.float64 and brg.f.mean.tolist() == [.875]*5

def test_what_becomes_of_a_sequential():
    row = as_module(Sequential(ReLU(), Residual(ReLU()), Sequential(Linear(r(3, 2), r(2)))).eval())
    assert [type(o) for o in row] == [Bridge, Bridge, nn.Sequential] and not row.training and not row[1].training
    assert [k for k, _ in row.named_parameters()] == ['2.0.w', '2.0.b']
    brg = as_module(block())                                     # a tie across its layers keeps it whole
    assert isinstance(brg, Bridge) and brg.get_parameter('1.two.a.w') is brg.get_parameter('0.f.0.w')

def test_a_transposed_tie_is_not_translated(monkeypatch):
    class Widen(Module):
        torch_names = dict(w='weight')
        def __init__(self, w): self.w = w
    monkeypatch.setitem(to_torch_rules, Widen, lambda l: nn.utils.skip_init(nn.Linear, *l.w.T.shape, bias=False))
    l = Linear(r(5, 5), r(5))
    with pytest.raises(TypeError, match='tied, one of them transposed'): to_torch(Sequential(l, Widen(l.w), tied=['1.w']))

class SkipForgotten(Residual):
    def bwd(self, out, x): x.g = self.f.backward(out.g)
class SkipOverwrites(Residual):
    def bwd(self, out, x): self.f.backward(out.g); x.g = out.g
class OneRowSum(Linear):
    def bwd(self, out, x):
        super().bwd(out, x)
        self.b.g = out.g.sum(0)
class HalfTied(Linear):
    def backward(self, g=None):
        before, res = self.w.__dict__.get('g'), super().backward(g)
        if before is not None and not (before == 99).all(): self.w.g = self.w.g - before
        return res
class NewCoins(Dropout):
    def bwd(self, out, x): x.g = out.g*torch.empty_like(x).bernoulli_(1 - p).div_(1 - p) if self.training else out.g
class NoMask(Dropout):
    def bwd(self, out, x): x.g = out.g
class OneBranch(Gated):
    def bwd(self, out, x):
        a, b = self.saved
        self.two['b'].backward(out.g*a)
        x.g = self.two['a'].backward(out.g*b)
class Swapped(Gated):
    def bwd(self, out, x):
        a, b = self.saved
        x.g = self.two['b'].backward(out.g*b) + self.two['a'].backward(out.g*a)
class Silent(Sequential):
    def bwd(self, out, x): x.g = out.g

@pytest.mark.parametrize('kw', [dict(res=SkipForgotten), dict(res=SkipOverwrites), dict(lin=OneRowSum), dict(lin=HalfTied), dict(drop=NewCoins),
    dict(drop=NoMask), dict(gated=OneBranch), dict(gated=Swapped), dict(seq=Silent)], ids=lambda kw: next(iter(kw.values())).__name__)
def test_mistakes_are_noticed(kw):
    torch.manual_seed(42)
    net = block(**kw)
    with pytest.raises((AssertionError, AttributeError)): compare(net)
    brg = Bridge(net)
    with pytest.raises(RuntimeError): torch.autograd.gradcheck(through(brg), leaves(brg, 2, 3, d))   # its own refusals are RuntimeErrors, too

def test_check_layer_on_what_pytorch_learns():
    from backprop_nb.gradcheck import check_layer
    torch.manual_seed(0)
    for net in AutogradLayer(nn.Linear(5, 3)), Sequential(Linear(torch.randn(5, 5), torch.zeros(5)), AutogradLayer(nn.LayerNorm(5))):
        assert check_layer(net, torch.randn(7, 5)).ok
    class Halved(AutogradLayer):
        def bwd(self, out, *args):
            super().bwd(out, *args)
            for p in self.own_parameters(): p.g = p.g/2
    report = check_layer(Halved(nn.Linear(5, 3)), torch.randn(7, 5))
    assert [r.what for r in report.wrong] == ['f.weight.g', 'f.bias.g'] and 'factor ½' in report.wrong[0].kinds

def test_turns_of_different_threads_are_different_turns():
    import threading
    net, x, said = Sequential(Linear(torch.randn(5, 5), torch.zeros(5))), torch.randn(7, 5), []
    def call():
        try: net(x)
        except Exception as e: said.append(str(e))
    for _ in range(2):
        t = threading.Thread(target=call)
        t.start()
        t.join()
    net(x)
    assert not said and net.backward(torch.ones(7, 5)) is x.g

def test_a_layer_that_looks_at_itself_on_the_way_back():
    "Checkpointing: bwd runs the forward again, and the outer call's memory is not lost"
    class Again(Module):
        def __init__(self): self.f = Linear(torch.randn(5, 5).double(), torch.zeros(5).double())
        def forward(self, x):
            with forward_only(): return self.f(x)
        def bwd(self, out, x):
            self.f(x)
            x.g = self.f.backward(out.g)
    net, x, g = Again(), torch.randn(7, 5).double(), torch.randn(7, 5).double()
    net(x)
    assert rel_err(net.backward(g), g @ net.f.w.T) < 1e-12 and rel_err(net.f.w.g, x.T @ g) < 1e-12


def test_one_layer_in_two_networks_is_refused():
    "The backward of the one would find what the call of the other has left"
    e = Linear(r(5,5), r(5))
    one, two = Sequential(e, ReLU()), Sequential(e, ReLU())
    one(r(7,5))
    two(r(7,5))
    assert 'called again' in refusal(one.backward, r(7,5))

class Matmul(Module):
    def forward(self, x, w): return x@w
    def bwd(self, out, x, w): x.g, w.g = out.g@w.T, x.T@out.g

def test_a_parameter_that_is_an_argument_elsewhere_is_refused():
    class Sibling(Module):
        def __init__(self): self.l, self.mm = Linear(r(5,5), r(5)), Matmul()
        def forward(self, x): return self.mm(self.l(x), self.l.w)
        def bwd(self, out, x): x.g = self.l.backward(self.mm.backward(out.g))
    net = Sibling()
    net(r(7,5))
    assert 'as an argument' in refusal(net.backward, r(7,5))

def test_who_holds_a_parameter_may_hand_it_over():
    class Owner(Module):
        def __init__(self): self.w, self.mm = r(5,5), Matmul()
        def forward(self, x): return self.mm(x, self.w)
        def bwd(self, out, x): x.g = self.mm.backward(out.g)
    net, x, g = Owner(), r(7,5), r(7,5)
    net(x)
    assert rel_err(net.backward(g), g@net.w.T) < 1e-12 and rel_err(net.w.g, x.T@g) < 1e-12

def test_a_parameter_that_is_returned_as_it_is():
    class Says(Module):
        def __init__(self): self.w = r(5)
        def forward(self, x): return self.w
        def bwd(self, out, x): self.w.g = out.g
    net = Says()
    net(r(7,5))
    net.backward(torch.ones(5).double())
    assert net.w.g.sum() == 5

def test_what_a_failed_call_has_saved_is_gone():
    class Fails(Module):
        def forward(self, x):
            if x.sum() > 0: self.saved = x
            if x.sum() > 1: raise ValueError('no')
            return x*1
        def bwd(self, out, x): x.g = out.g*(1 if self.saved is None else 2)
    net, x = Fails(), torch.ones(3)
    refusal(net, x)
    net(-x)
    assert net.backward(x).sum() == 3
    refusal(net, x)
    net.forget()
    assert net.saved is None

def test_no_tensor_becomes_an_attribute_during_a_call():
    class Mask(Module):
        def forward(self, x): self.mask = x > 0; return x*self.mask
    assert 'self.saved' in refusal(Mask(), r(3))
    with forward_only(): assert 'self.saved' in refusal(Mask(), r(3))

def test_a_scalar_is_the_end_of_a_chain():
    class Total(Module):
        def forward(self, x): return x.sum()
        def bwd(self, out, x): x.g = out.g.expand_as(x)
    net, x = Total(), torch.ones(3)
    net(x)
    assert net.backward().sum() == 3
    net(x)
    assert 'got float' in refusal(net.backward, 2.)

@pytest.mark.parametrize('name,value,error,part', [
    ('saved', ReLU(), AttributeError, 'needs itself'), ('forget', ReLU(), AttributeError, 'needs itself'),
    ('f', nn.Linear(2, 2), TypeError, 'AutogradLayer'), ('f', {ReLU()}, TypeError, 'is a set')])
def test_what_the_walk_would_not_find_is_refused(name, value, error, part):
    with pytest.raises(error, match=part): setattr(ReLU(), name, value)

def test_what_is_no_layer_is_refused():
    class Pair(Module):
        def forward(self, x): return x, x
    assert 'keep the shape' in refusal(Residual(Linear(r(1,5), r(5))), r(7,1))
    assert 'AutogradLayer' in refusal(Sequential, nn.Linear(2, 2)) and 'got list' in refusal(Sequential, [ReLU()])
    assert 'returns tuple' in refusal(Pair(), r(3))

def test_a_copy_leaves_the_last_call_behind():
    net = Sequential(Linear(r(5,5), r(5)))
    net(r(7,5))
    for c in copy.deepcopy(net), pickle.loads(pickle.dumps(net)): assert c.memory is None and c(r(7,5)).shape == (7,5)
