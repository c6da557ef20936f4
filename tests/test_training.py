"""Training as a shell sees it: the command, Ctrl-C, and files that something went wrong with. And what the chapters on training leave
out: trees in lockstep with PyTorch, refusals, interrupts, what stays in memory.
"""
import gc, os, re, signal, subprocess, sys, threading, time, weakref
from pathlib import Path
import pytest, torch, torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from backprop_nb import optim
from backprop_nb.classifier import Dropout
from backprop_nb.commands.learner import TorchLearner, new_learner
from backprop_nb.core.data import load_mnist
from backprop_nb.core.guards import refusal
from backprop_nb.losses import CrossEntropyLoss
from backprop_nb.modules import Linear, Module, ReLU, Residual, Sequential, load_weights
from backprop_nb.nn_module import to_torch
from backprop_nb.training import Learner, TrainingError, accuracy, batches, evaluation, kaiming, mlp

root = Path(__file__).resolve().parent.parent
command = [sys.executable, '-c', 'import sys; from backprop_nb.commands.train import main; sys.argv[0] = "backprop_train"; main()']
env = os.environ | dict(BACKPROP_NB_DATA=str(root/'data'), PYTHONUNBUFFERED='1')

def sh(*args): return subprocess.run([*command, *map(str, args)], capture_output=True, text=True, env=env, timeout=300)

def reported(text): return float(re.search(r'([\d.]+)% of the 10,000 test images', text)[1])

def test_trains_saves_and_draws(tmp_path):
    res = sh('--epochs', 2, '--hidden', '30,20', '--batch-size', 256, '--save', tmp_path/'w.safetensors', '--plot', tmp_path/'curve.png')
    assert res.returncode == 0 and not res.stderr, res.stderr
    assert '784-30-20-10, 24,380 parameters, adamw, gradients by hand' in res.stdout
    assert len(re.findall(r'^epoch +\d+ .*accuracy 0\.\d+$', res.stdout, re.M)) == 2
    assert (tmp_path/'curve.png').read_bytes().startswith(b'\x89PNG')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['curve.png', 'w.safetensors']
    # PyTorch, which has none of our code, reads the file and gets the accuracy that was reported
    net = nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))
    net.load_state_dict(load_file(tmp_path/'w.safetensors'))
    x, y = load_mnist(root/'data')[2]
    right = (net(x).argmax(1) == y).float().mean().item()*100
    assert right > 93 and abs(right - reported(res.stdout)) < .02

@pytest.mark.nightly
def test_both_engines_agree():   # step by step, and for all optimisers, in commands/learner
    for optimizer in 'sgd', 'adamw':
        hand, auto = [sh('--epochs', 1, '--hidden', 10, '--optimizer', optimizer, '--engine', e) for e in ('hand', 'torch')]
        assert hand.returncode == auto.returncode == 0, hand.stderr + auto.stderr
        assert reported(hand.stdout) > 85 and abs(reported(hand.stdout) - reported(auto.stdout)) < 1, optimizer

def test_the_same_seed_gives_the_same_run():
    runs = [re.findall(r'^epoch.*', sh('--epochs', 1, '--hidden', 10, '--seed', s).stdout, re.M) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]

def interrupted(tmp_path, *args, again=False):
    "Start a long training, press Ctrl-C in the middle"
    p = subprocess.Popen([*command, '--epochs', '500', '--hidden', '20', *map(str, args)], env=env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    first = p.stdout.readline()
    while not (line := p.stdout.readline()).startswith('epoch') and line: first += line   # it is in the middle of the second one
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=120)
    return p.returncode, first + line + out, err

def test_ctrl_c_stops_reports_and_saves(tmp_path):
    status, out, err = interrupted(tmp_path, '--save', tmp_path/'w.safetensors')
    assert status == 130 and 'Traceback' not in err, err
    assert re.search(r'stopped by Ctrl-C after \d+ steps', out) and reported(out) > 80
    assert set(load_file(tmp_path/'w.safetensors')) == {'0.weight', '0.bias', '2.weight', '2.bias'}

def test_ctrl_c_before_the_training_is_no_traceback(tmp_path):
    slow = tmp_path/'slow.py'
    slow.write_text('import sys, time\nfrom backprop_nb.commands import train\n'
                    'def load(*_): print("loading", flush=True); time.sleep(60)\n'
                    'train.find_images = load\ntrain.main([])')
    p = subprocess.Popen([sys.executable, slow], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    p.stdout.readline()
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130 and 'Traceback' not in p.stderr.read()

@pytest.mark.parametrize('args,status,part', [
    (['--hidden', 'a'], 2, '--hidden needs sizes'), (['--data', '/no/such/place'], 2, '/no/such/place'),
    (['--save', '/no/such/place/w'], 2, '--save: '), (['--nonsense'], 2, 'unrecognized'),
    (['--batch-size', 60_000], 1, 'batch of 60000 rows from 50000')])   # the others in commands/train
def test_refuses_in_a_sentence(args, status, part):
    res = sh(*args)
    assert res.returncode == status and part in res.stderr and 'Traceback' not in res.stderr

def test_a_diverging_run_keeps_the_old_file(tmp_path):
    path = tmp_path/'w.safetensors'
    path.write_bytes(b'the one that was there')
    assert sh('--lr', 1e9, '--hidden', 10, '--save', path).returncode == 1
    assert path.read_bytes() == b'the one that was there' and len(list(tmp_path.iterdir())) == 1

def test_killed_while_saving_leaves_a_whole_file(tmp_path):
    "SIGKILL at any moment of a loop that saves without end: the file is one of the two networks, never a part"
    path, loop = tmp_path/'w.safetensors', tmp_path/'loop.py'
    loop.write_text(f'from backprop_nb.training import mlp\nfrom backprop_nb.modules import save_weights\n'
                    f'nets = [mlp(784, 300, 10) for _ in range(2)]\nprint("ready", flush=True)\n'
                    f'while True:\n    for n in nets: save_weights(n, {str(path)!r})\n')
    for wait in .05, .11, .17:
        p = subprocess.Popen([sys.executable, loop], stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        while not path.exists(): time.sleep(.01)
        time.sleep(wait)
        p.kill()
        p.wait()
        load_weights(mlp(784, 300, 10), path)

def test_help_names_every_option():
    res = sh('--help')
    assert res.returncode == 0
    for o in '--epochs --hidden --lr --batch-size --optimizer --dropout --seed --device --engine --save --plot --data'.split(): assert o in res.stdout

def test_memory_does_not_grow_with_the_epochs():
    learn, seen = new_learner((20,)), []
    x, y = torch.rand(640, 784), torch.randint(10, (640,))
    def alive(): gc.collect(); return sum(type(o) is torch.Tensor for o in gc.get_objects())
    for _ in range(4):
        learn.fit(x, y, valid=(x, y))
        seen.append(alive())
    assert seen[1] == seen[2] == seen[3], seen

# Trees

@pytest.fixture(scope='module')
def digits():
    (x, y), *_ = load_mnist(root/'data')
    return x[:3200], y[:3200]

def tree(dtype=torch.float64):
    "Residual blocks, one of them inside another, and dropout, on 784 inputs"
    torch.manual_seed(42)
    block = Residual(kaiming(20, 20), ReLU(), Dropout(.3), Residual(kaiming(20, 20), Dropout(.1)))
    return Sequential(kaiming(784, 20, x_grad=False), ReLU(), block, Dropout(.2), Sequential(ReLU(), kaiming(20, 10))).to(dtype)

def torch_tree():
    "The same in PyTorch's words alone"
    class Res(nn.Module):
        def __init__(self, *f): super().__init__(); self.f = f[0] if len(f) == 1 else nn.Sequential(*f)
        def forward(self, x): return x + self.f(x)
    block = Res(nn.Linear(20, 20), nn.ReLU(), nn.Dropout(.3), Res(nn.Linear(20, 20), nn.Dropout(.1)))
    return nn.Sequential(nn.Linear(784, 20), nn.ReLU(), block, nn.Dropout(.2), nn.Sequential(nn.ReLU(), nn.Linear(20, 10)))

def twin(net):
    ref = torch_tree().to(net.parameters()[0].dtype)
    ref.load_state_dict(net.state_dict())
    return ref

@pytest.mark.parametrize('name,options', [('SGD', dict(lr=.1, momentum=.9)), ('RMSprop', dict(lr=.004)), ('Adam', dict(lr=.01)),
                                          ('AdamW', dict(lr=.01, weight_decay=.1))])
@pytest.mark.parametrize('make', [to_torch, twin])
def test_a_tree_in_lockstep_with_its_twin(digits, name, options, make):
    "Losses and all parameters, step by step, through 50 steps in double precision"
    x, y = digits[0].double(), digits[1]
    net = tree()
    ref = make(net)
    def record(seen): return lambda learn: seen.append({k: p.detach().clone() for k, p in learn.net.state_dict().items()})
    ours, theirs = [], []
    a = Learner(net, CrossEntropyLoss(), getattr(optim, name)(net.parameters(), **options), each=record(ours))
    b = TorchLearner(ref, nn.CrossEntropyLoss(), getattr(torch.optim, name)(ref.parameters(), **options), each=record(theirs))
    for l in a, b:
        torch.manual_seed(1)   # of the coins of dropout
        l.fit(x, y, valid=(x[:500], y[:500]))
    assert len(a.losses) == len(b.losses) == len(ours) == 50
    assert max(abs(p - q) for p, q in zip(a.losses, b.losses)) < 1e-9
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        assert list(p) == list(q)
        for k in p: assert (p[k] - q[k]).abs().max() < 1e-9, (i, k)
    assert abs(a.history[0]['loss'] - b.history[0]['loss']) < 1e-9 and a.history[0]['accuracy'] == b.history[0]['accuracy']
    assert a.losses[-1] < .8*a.losses[0]

def test_any_module_is_trained(digits):
    "No Sequential at all: a branch, a dictionary of children, a parameter of its own"
    class Two(Module):
        def __init__(self): self.heads, self.b = dict(a=kaiming(784, 10), b=Sequential(kaiming(784, 9), ReLU(), kaiming(9, 10))), torch.zeros(10)
        def forward(self, x): return self.heads['a'](x) + self.heads['b'](x) + self.b
        def bwd(self, out, x):
            self.b.g = out.g.sum(0)
            x.g = self.heads['b'].backward(out.g) + self.heads['a'].backward(out.g)
    torch.manual_seed(42)
    for net in Two(), kaiming(784, 10):
        learn = Learner(net, CrossEntropyLoss(), optim.SGD(net.parameters(), lr=.1))
        learn.fit(*digits, epochs=2)
        assert learn.evaluate(*digits)['accuracy'] > .8

def test_a_number_that_is_not_finite_is_found_in_the_tree(digits):
    def said(net, x=digits[0]):
        for m in net.modules(): m.training = False
        return refusal(Learner(net, CrossEntropyLoss(), optim.SGD(net.parameters())).check, float('nan'), x)
    class Breaks(Module):
        def forward(self, x): return x/0
    net = tree(torch.float32)
    net.layers[2].f.layers[3].f.layers[1] = Breaks()
    assert 'it first appeared in 2.f.3.f.1 (Breaks())' in said(net), said(net)
    net = tree(torch.float32)
    net.layers[2].f.layers[3].f.layers[0].w[3, 4] = float('inf')
    assert 'the parameter 2.f.3.f.0.w is not finite' in said(net), said(net)
    for b, place in [('0.b', '2'), ('2.f.0.b', '2.f.3')]:      # 3e38 comes by both ways: the sum, and neither of its terms
        net = tree(torch.float32)
        ps = dict(net.named_parameters())
        for k, p in ps.items():
            if k.startswith('2.'): p.zero_()
        ps['2.f.3.f.0.b'] += 3e38
        ps[b] += 3e38
        assert f'it first appeared in {place} (Residual);' in said(net), said(net)
    x = digits[0].clone(); x[17, 3] = float('nan')
    assert 'it came with the batch, in its row 17' in said(net, x)
    assert said(Sequential(kaiming(784, 10))).endswith("the network's outputs are finite, the loss of them is not")
    only = kaiming(784, 10)
    only.b += 3e38; only.w += 3e38
    assert 'it first appeared in Linear(' in said(only), said(only)
    assert all(m.hook is None and m.memory is None for m in net.modules())

# What the Learner refuses, and what it leaves behind

def new(lr=.1, each=None, net=None):
    torch.manual_seed(42)
    net = net or mlp(784, 50, 10)
    return Learner(net, CrossEntropyLoss(), optim.SGD(net.parameters(), lr=lr), each=each)

def test_data_that_does_not_fit_is_refused_in_a_sentence(digits):
    x, y = digits
    for args, part in [((x[:0], y[:0]), 'fit needs at least one row, got x (0, 784) and y (0,)'), ((x, y[:7]), 'one label for each row'),
                       ((x[:10], y[:10]), 'cannot take a batch of 64 rows from 10: lower bs'), ((x, y, 0), '1 epoch or more, got 0'),
                       ((x, y, 1, 0), 'batches of 1 row or more, got bs 0'), ((x, y, 1, 1.5), 'batches of 1 row'), ((x, y.float()), 'float'), ((x, y + 1), '10')]:
        assert part in refusal(new().fit, *args), (part, refusal(new().fit, *args))
    assert 'evaluate needs at least one row' in refusal(new().evaluate, x[:0], y[:0])
    assert 'evaluate needs one label' in refusal(new().evaluate, x, y[:7])

def kept(learn): return [m for m in (learn.loss, *learn.net.modules()) if m.memory is not None]

def test_after_an_error_nothing_is_remembered_and_training_goes_on(digits):
    x, y = digits
    holed = x[:1000].clone(); holed[700, 300] = float('nan')
    class Fails(ReLU):
        def bwd(self, out, x): raise RuntimeError('planted')
    for learn, args, part in [(new(), (holed, y[:1000]), 'in its row'), (new(), (x, y + 1), '10'), (new(30.), (x, y), 'has grown'),
                              (new(net=Sequential(kaiming(784, 10), Fails())), (x, y), 'planted'), (new(), (x[:, :100], y), 'd is')]:
        before = [p.clone() for p in learn.net.parameters()]
        assert part in refusal(learn.fit, *args), (part, refusal(learn.fit, *args))
        assert not kept(learn) and learn.net.training
        if part != 'has grown' and part != 'in its row': assert all(map(torch.equal, before, learn.net.parameters()))
        assert all(p.isfinite().all() for p in learn.net.parameters())
    learn = new()
    refusal(learn.fit, holed, y[:1000])
    learn.fit(x, y)
    assert learn.history[-1]['train_loss'] < 2.3
    learn = new(30.)
    assert 'has grown' in refusal(learn.fit, x, y)
    learn.net.load_state_dict(mlp(784, 50, 10).state_dict())
    learn.opt.lr = .1
    learn.fit(x, y)                                               # the loss that had grown is forgotten, too
    assert learn.history[-1]['train_loss'] < 2.3
    learn = new()
    assert 'in its row' in refusal(learn.step, holed, y[:1000])   # a step alone
    assert not kept(learn)
    with pytest.raises(TrainingError): learn.fit(holed, y[:1000])

def test_the_step_that_a_bad_loss_stops_changes_nothing(digits):
    x, y = digits
    x = x[:64].clone(); x[3, 300] = float('nan')
    learn = new()
    before = [p.clone() for p in learn.net.parameters()]
    assert 'step 1' in refusal(learn.fit, x, y[:64])
    assert all(map(torch.equal, before, learn.net.parameters())) and learn.losses == []

def test_evaluation_is_no_training(digits):
    x, y = digits
    net = tree(torch.float32)
    learn = new(net=net)
    out = learn.predict(x, 500)
    assert all(m.training for m in net.modules()) and not kept(learn)
    with evaluation(net):
        assert not any(m.training for m in net.modules()) and not torch.is_grad_enabled()
        with evaluation(net): pass
        assert not any(m.training for m in net.modules())     # what was is restored
        assert (net(x) - out).abs().max() < 1e-5
    assert torch.equal(learn.predict(x, 500), out)            # no coins are thrown
    for bs in 7, 999, 1000, 3200, 5000:                       # the last batch counts by its rows
        got = learn.evaluate(x, y, bs)
        assert abs(got['loss'] - F.cross_entropy(out, y).item()) < 1e-5, bs
        assert abs(got['accuracy'] - accuracy(out, y)) < 1e-6, bs
    net.eval()
    learn.fit(x, y)
    assert all(m.training for m in net.modules())             # whoever trains, trains
    class Fails(Module):
        def forward(self, x): raise RuntimeError('planted')
    net = Sequential(kaiming(784, 10), Fails())
    assert 'planted' in refusal(new(net=net).predict, x) and all(m.training for m in net.modules())

def test_each_row_once_an_epoch_and_in_another_order_each_time(digits):
    x, y = torch.arange(640.)[:, None].expand(640, 784)/640, digits[1][:640]
    seen = []
    learn = new()
    learn.augment = lambda xb: seen.append((xb[:, 0]*640).round().int().tolist()) or xb
    learn.fit(x[:600], y[:600], epochs=2, bs=64)
    first, second = sum(seen[:10], []), sum(seen[10:], [])
    assert [len(o) for o in seen] == 2*(9*[64] + [24])
    assert sorted(first) == sorted(second) == list(range(600)) and first != second
    for xb, yb in batches(x, torch.arange(640), 7, torch.Generator().manual_seed(0)): assert ((xb[:, 0]*640).round().int() == yb).all()

def test_each_step_is_made_with_the_learning_rate_of_its_turn(digits):
    "One cycle, by a schedule that runs by itself; each step of SGD is lr times the gradient, to the last"
    class Note(optim.SGD):
        def step(self): used.append(self.lr); super().step()
    used, torch_lrs = [], []
    net = mlp(784, 10)
    learn = Learner(net, CrossEntropyLoss(), Note(net.parameters()), lambda opt, n: optim.OneCycleLR(opt, .1, n, cycle_momentum=False))
    learn.fit(*digits, epochs=2)
    ref = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(ref, .1, 100, cycle_momentum=False)
    for _ in range(100):
        torch_lrs.append(ref.param_groups[0]['lr'])
        ref.step()
        cycle.step()
    assert used == learn.lrs and len(used) == 100
    assert max(abs(a - b) for a, b in zip(used, torch_lrs)) < 1e-9

in_main = pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason='signals come to no other thread')

@in_main
def test_ctrl_c_once_stops_after_the_step_and_twice_at_once(digits):
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        def once(learn):
            if len(learn.losses) == 5: signal.raise_signal(signal.SIGINT)
        def twice(learn):
            for _ in range(2): signal.raise_signal(signal.SIGINT)
        learn = new(each=once)
        learn.fit(*digits, epochs=3, valid=digits)
        assert learn.stopped and len(learn.losses) == len(learn.lrs) == 5 and len(learn.history) == 1 and 'accuracy' in learn.history[0]
        learn.each = None
        learn.fit(*digits)   # and on it goes
        assert not learn.stopped and len(learn.losses) == 55
        learn = new(each=twice)
        with pytest.raises(KeyboardInterrupt): learn.fit(*digits)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and not kept(learn)
    finally: signal.signal(signal.SIGINT, old)

def test_training_in_another_thread(digits):
    done = []
    t = threading.Thread(target=lambda: done.append(new().fit(*digits)))
    t.start(); t.join()
    assert len(done) == 1

# What stays in memory

def alive():
    "Bytes in all tensors that Python can reach, each storage once"
    ts = [o for o in gc.get_objects() if type(o) is torch.Tensor]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in ts}.values())

class Weighed(CrossEntropyLoss):
    "Adds up the tensors that are alive in the middle of a step, when the way back begins"
    def __init__(self): super().__init__(); self.seen = self.calls = 0
    def bwd(self, *args):
        if self.calls < 2 or self.calls % 20 == 0: self.seen = max(self.seen, alive()) # it takes long
        self.calls += 1
        super().bwd(*args)

def test_a_step_holds_one_batch_however_many_rows_there_are():
    x, y = torch.rand(20_000, 784), torch.randint(10, (20_000,))
    for n in 1_000, 20_000:
        learn = new()
        learn.loss = Weighed()
        gc.collect()
        before = alive()
        learn.fit(x[:n], y[:n], bs=500)
        gc.collect()
        # 500 images are 1.5 MB; the gradients of the parameters, which remain, are as large as these
        assert learn.loss.seen - before < 3*2**20 and alive() - before < .5*2**20, n

def test_no_batch_outlives_its_step(digits):
    held = []
    def hold(x): held.append(weakref.ref(x)); return x
    learn = new()
    learn.augment = hold
    learn.fit(digits[0][:640], digits[1][:640], epochs=2)
    gc.collect()
    assert len(held) == 20 and not [o for o in held if o() is not None]

def test_a_loss_that_holds_a_parameter_of_the_network_is_refused():
    from backprop_nb.core.guards import refusal
    from backprop_nb.losses import CrossEntropyLoss
    from backprop_nb.modules import Module
    from backprop_nb.optim import SGD
    from backprop_nb.training import Learner, mlp
    net = mlp(5, 3)
    class Penalty(Module):
        def __init__(self): self.ce, self.w = CrossEntropyLoss(), net.layers[0].w
    assert 'holds a parameter of the network' in refusal(Learner, net, Penalty(), SGD(net.parameters()))

def test_evaluation_gives_each_layer_its_own_mode_back():
    from backprop_nb.classifier import Dropout
    from backprop_nb.modules import Sequential
    from backprop_nb.training import evaluation
    net = Sequential(Dropout(.5), Dropout(.5))
    net.layers[1].eval()
    with evaluation(net): assert not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == [True, True, False]

def test_a_layer_that_is_left_out_of_a_step_is_noticed():
    "Its gradient of the step before must not be used again"
    from backprop_nb.core.guards import refusal
    from backprop_nb.losses import CrossEntropyLoss
    from backprop_nb.modules import Module
    from backprop_nb.optim import SGD
    from backprop_nb.training import Learner, kaiming
    class Skips(Module):
        def __init__(self): self.a, self.b, self.both = kaiming(5, 5), kaiming(5, 5), True
        def forward(self, x): return self.b(self.a(x)) if self.both else self.a(x)
        def bwd(self, out, x): x.g = self.a.backward(self.b.backward(out.g) if self.both else out.g)
    net = Skips()
    learn = Learner(net, CrossEntropyLoss(), SGD(net.parameters(), lr=.1))
    x, y = torch.randn(7, 5), torch.randint(5, (7,))
    learn.step(x, y)
    net.both = False
    assert 'has no gradient' in refusal(learn.step, x, y)
