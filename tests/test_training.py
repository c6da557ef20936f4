"Training as a shell sees it: the command, Ctrl-C, and files that something went wrong with"
import os, re, signal, subprocess, sys, time
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file
from torch import nn

root = Path(__file__).resolve().parent.parent
command = [sys.executable, '-c', 'import sys; from backprop_nb.train import main; sys.argv[0] = "backprop_train"; main()']
env = os.environ | dict(BACKPROP_NB_DATA=str(root/'data'), PYTHONUNBUFFERED='1')

def sh(*args): return subprocess.run([*command, *map(str, args)], capture_output=True, text=True, env=env, timeout=300)

def accuracy(text): return float(re.search(r'([\d.]+)% of the 10,000 test images', text)[1])

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
    from backprop_nb.data import load_mnist
    x, y = load_mnist(root/'data')[2]
    right = (net(x).argmax(1) == y).float().mean().item()*100
    assert right > 93 and abs(right - accuracy(res.stdout)) < .02

def test_both_engines_agree():   # step by step, and for all optimisers, in the chapter
    for optimizer in 'sgd', 'adamw':
        hand, auto = [sh('--epochs', 1, '--hidden', 10, '--optimizer', optimizer, '--engine', e) for e in ('hand', 'torch')]
        assert hand.returncode == auto.returncode == 0, hand.stderr + auto.stderr
        assert accuracy(hand.stdout) > 85 and abs(accuracy(hand.stdout) - accuracy(auto.stdout)) < 1, optimizer

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
    assert re.search(r'stopped by Ctrl-C after \d+ steps', out) and accuracy(out) > 80
    assert set(load_file(tmp_path/'w.safetensors')) == {'0.weight', '0.bias', '2.weight', '2.bias'}

def test_ctrl_c_before_the_training_is_no_traceback(tmp_path):
    slow = tmp_path/'slow.py'
    slow.write_text('import sys, time\nfrom backprop_nb import train\n'
                    'def load(_): print("loading", flush=True); time.sleep(60)\n'
                    'train.load_mnist = load\ntrain.main([])')
    p = subprocess.Popen([sys.executable, slow], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    p.stdout.readline()
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130 and 'Traceback' not in p.stderr.read()

@pytest.mark.parametrize('args,status,part', [
    (['--hidden', 'a'], 2, '--hidden needs sizes'), (['--data', '/no/such/place'], 2, '/no/such/place'),
    (['--save', '/no/such/place/w'], 2, '--save: '), (['--nonsense'], 2, 'unrecognized'),
    (['--batch-size', 60_000], 1, 'batch of 60000 rows from 50000')])   # the others in the chapter
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
    loop.write_text(f'from backprop_nb.training import mlp\nfrom backprop_nb.weights import save_weights\n'
                    f'nets = [mlp(784, 300, 10) for _ in range(2)]\nprint("ready", flush=True)\n'
                    f'while True:\n    for n in nets: save_weights(n, {str(path)!r})\n')
    from backprop_nb.training import mlp
    from backprop_nb.weights import load_weights
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
    from backprop_nb.train import new_learner
    learn, seen = new_learner((20,)), []
    x, y = torch.rand(640, 784), torch.randint(10, (640,))
    import gc
    def alive(): gc.collect(); return sum(type(o) is torch.Tensor for o in gc.get_objects())
    for _ in range(4):
        learn.fit(x, y, valid=(x, y))
        seen.append(alive())
    assert seen[1] == seen[2] == seen[3], seen
