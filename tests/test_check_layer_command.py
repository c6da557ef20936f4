"""The command check_layer as a shell sees it, on files that do what they like, and `assert_grad` as a test suite sees it."""
import inspect, json, os, signal, subprocess, sys, textwrap, time
import pytest, torch
from backprop_nb.check import layer as check
from backprop_nb.check.report import Coverage, Report, Row
from backprop_nb.commands import check_layer as module

start = [sys.executable, '-P', '-c', 'import sys; from backprop_nb.commands.check_layer import main; sys.exit(main())']

def command(*args, **kw):
    "(exit status, standard output, error stream)"
    res = subprocess.run([*start, *map(str, args)], capture_output=True, text=True, timeout=60, **kw)
    assert 'Traceback' not in res.stderr + res.stdout, res.stderr
    return res.returncode, res.stdout, res.stderr

def sentence(*args, **kw):
    "What is said, in one line on the error stream, where there is nothing to check"
    status, out, err = command(*args, **kw)
    assert (status, out) == (3, '') and len(err.splitlines()) == 1 and err.startswith('check_layer: '), (status, out, err)
    return err

def inside(what, *args):
    "The same without another process: what does not depend on that, sooner; the module's state is put back"
    path, modules = list(sys.path), set(sys.modules)
    try: status, report = module._check(module._parse([what, *args]), what)
    finally:
        sys.path[:] = path
        for o in set(sys.modules) - modules: del sys.modules[o]
    return status, report.problem or str(report)

fine = '''
import torch
class Cube:
    def forward(self, x): return x**3
    def backward(self, g): return 3*self.x**2*g
    def __call__(self, x):
        self.x = x
        return self.forward(x)
def example(): return Cube(), torch.randn(4, 3)
'''
more = fine + '''
class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x**3
    @staticmethod
    def backward(ctx, g): return ctx.saved_tensors[0]**2*g
def broken(): raise ValueError('no')
built = Cube()
def mul(x, y): return x*y
def mul_grad(x, y, g): return g*y, None
class Loss:
    def forward(self, x, y): self.x, self.y = x, y; return ((x - y)**2).sum()
    def __call__(self, x, y): return self.forward(x, y)
    def backward(self, g): return 2*(self.x - self.y)*g, None
def keywords(): return Loss(), torch.randn(4, 3), torch.randn(4, 3), dict(data='y')
def pair(n=4): return mul, mul_grad, torch.randn(n, 3), torch.randn(n, 3), {'data': ['y']}
def slip(): return Loss(), torch.randn(4), torch.randn(4), dict(dat='y')
def nothing(): pass
class Outer: Inner = Cube
def leaves(x): exit(0)
'''

@pytest.fixture
def put(tmp_path):
    "Write a file: its path"
    def f(src, name='mine.py'):
        (p := tmp_path/name).parent.mkdir(exist_ok=True, parents=True)
        p.write_text(textwrap.dedent(src))
        return p
    return f

# Verdicts

def test_command(put):
    f = put(more)
    status, said, _ = command(f'{f}:example')
    assert status == 0 and said.startswith('example (x (4, 3)): right'), said
    status, said, _ = command(f'{f}:Wrong', '--shapes', '4,3')
    assert status == 1 and 'WRONG' in said and '0.3333' in said
    status, said, _ = command(f'{f}:Wrong', f'{f}:example', f'{f}:leaves', '--shapes', '4,3')   # the highest of three
    assert status == 2 and said.count('WRONG') == 2 and 'sys.exit(0) (mine.py' in said and "line 29: def leaves" in said
    assert command('--help')[0] == 0 and command()[0] == 3

def test_targets(put):
    f = put(more)
    for good in 'keywords', 'pair', 'example':
        assert inside(f'{f}:{good}')[0] == 0, good
    for good in 'built', 'Outer.Inner', 'Cube':
        assert inside(f'{f}:{good}', '--shapes', '4,3')[0] == 0, good
    pair = f'{f}:mul,mul_grad', '--shapes', '4,3', '4,3'
    assert inside(*pair)[0] == 1
    for y in 'y', '1': assert inside(*pair, '--data', y)[0] == 0
    for bad, part in {'broken': "broken() raised ValueError: no (mine.py, line 16: def broken(): raise ValueError('no'))",
                      'Nope': "no name 'Nope'", 'exmple': "is it 'example'?", '': 'after the colon: Cube, example',
                      'nothing': 'returns None', 'slip': "no keyword 'dat': is it 'data'?", 'a,b,c': '3 names',
                      'Cube': 'brings no inputs'}.items():
        status, said = inside(f'{f}:{bad}')
        assert status == 3 and part in said and '\n' not in said, said
    for args, part in {('yy',): "no input 'yy': is it 'y'? (there are: x, y)", ('2',): "no input '2'", ('y', 'targ'): "'targ'"}.items():
        status, said = inside(*pair, '--data', *args)
        assert status == 3 and part in said, said

def test_slips_are_said_in_a_sentence(put):
    f = f"{put(fine)}:Cube"
    assert "is it '--shapes'?" in sentence(f, '--shaps', '4,3')
    for o in ['4,0'], ['-4,3'], ['x'], ['4:0'], ['4:-3'], ['90000,90000'], ['4,3', ''], ['4:99999999999']:
        with pytest.raises(module._Usage): module._parse([f, '--shapes', *o])
    for o in '--seed=-1', '--seed=x', '--budget=0', '--budget=nan', '--batch=x', '--row':
        with pytest.raises(module._Usage): module._parse([f, o])
    assert module._parse(['--shapes', '7,5', f])['what'] == [f]
    assert module._parse([f, '--shapes', '7,5', '()', '3:10'])['shapes'] == [([7, 5], None), ([], None), ([3], 10)]
    assert 'lacks the name' in sentence('mine.py')
    said = sentence(f.replace('mine.py', 'mien.py'))
    assert "no file 'mien.py': is it 'mine.py'?" in said
    assert 'Not a Python' not in said and 'not a Python file' in inside(f"{put('', 'notes.txt')}:x")[1]

def test_json(put):
    "One document on the standard output, whatever the file prints there, and whatever goes wrong"
    f = put('import os\nprint("{")\nos.write(1, b"[")\n' + more.replace('return x**3', 'print("]"); return x**3'))
    for name, verdict, want in ('example', 'right', 0), ('Wrong', 'WRONG', 1), ('leaves', 'not checked', 2), ('Nope', 'not checked', 3):
        status, said, _ = command(f'{f}:{name}', '--shapes', '4,3', '--json')
        d = json.loads(said)
        assert (status, d['status'], d['verdict'], d['ok']) == (want, want, verdict, want == 0), said
        assert d['target'] == f'{f}:{name}' and bool(d['rows']) == (want < 2) and bool(d['problem']) == (want > 1)
    status, said, err = command('--nope', '--json')
    assert status == json.loads(said)['status'] == 3 and not err

# Files that do what they like: none of them may pass for right, nor for wrong

dies = {'os._exit(0)': 'exit status 0', 'os._exit(1)': 'exit status 1', 'os.kill(os.getpid(), 11)': 'SIGSEGV', 'os.abort()': 'SIGABRT'}

@pytest.mark.parametrize('how', dies)
def test_a_file_that_dies(put, how):
    assert dies[how] in sentence(f"{put('import os; ' + how)}:x")

def test_a_layer_that_dies(put):
    f = put(fine.replace('self.x = x', 'import os; os._exit(0)'))
    assert 'before there was a verdict' in sentence(f'{f}:example')

ends = {'import sys; sys.exit(0)': 'sys.exit(0) (mine.py, line 2: import sys; sys.exit(0)); guard', "exit('x')": "sys.exit('x')",
        'raise KeyboardInterrupt': 'KeyboardInterrupt', 'import nowhere': "No module named 'nowhere' (mine.py, line 2: import nowhere)",
        'x = (': "SyntaxError: '(' was never closed (mine.py, line 2: x = ()", '1/0': 'ZeroDivisionError',
        'def f(): f()\nf()': 'RecursionError', 'class E(BaseException): pass\nraise E': 'E (mine.py, line 3: raise E)',
        'import broken_one': '(broken_one.py, line 1: 1/0)', 'from . import other': 'ImportError'}

def test_a_file_that_cannot_be_imported(put):
    for i, (src, part) in enumerate(ends.items()):
        put('1/0', f'd{i}/broken_one.py')
        status, said = inside(f"{put(chr(10) + src, f'd{i}/mine.py')}:x")
        assert status == 3 and part in said and 'cannot be imported' in said and '\n' not in said, said
    assert 'guard' in sentence(f"{put('import sys; sys.exit(0)')}:x")
    assert 'EOFError' in sentence(f"{put('input()')}:x")

def test_what_a_file_leaves_behind(put):
    "Threads that go on, hooks, handlers, warnings, another folder: the verdict stands, and comes at once"
    f = put('''
        import sys
        assert len(sys.argv) == 1, sys.argv
        import atexit, os, signal, subprocess, sys, threading, time, warnings
        threading.Thread(target=time.sleep, args=[1000]).start()
        subprocess.Popen(['sleep', '1000'])
        atexit.register(os._exit, 0)
        atexit.register(time.sleep, 1000)
        warnings.warn('odd')
        os.chdir('/')
        sys.stdout = None
        sys.argv.append('x')
        def away(*args): raise SystemExit(0)
        sys.excepthook = away
        ''' + fine.replace('\n', '\n        ').replace('3*self', '4*self'), 'my-layer.py')
    begun = time.time()
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}
    status, said, err = command(f'{f.name}:example', cwd=f.parent, env=env)
    assert not (f.parent/'__pycache__').exists()
    assert status == 1 and 'WRONG' in said and 'odd' in err
    assert time.time() - begun < 30

def test_imports(put, tmp_path):
    "Dataclasses with late annotations; neighbours, plain and relative; a package; a name that Python has, too; a module's name"
    data = 'from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass D:\n    x: int\n' + fine
    put('k = 3', 'other.py')
    put('', 'pack/__init__.py')
    put('k = 3', 'pack/near.py')
    for name, src in {'data.py': data, 'beside.py': 'from other import k' + fine, 'own/random.py': fine, 'a b.c.py': data,
                      'pack/rel.py': 'from .near import k' + fine, 'pack/both.py': 'from .near import k\nimport near' + fine}.items():
        status, said = inside(f'{put(src, name)}:example')
        assert status == 0, (name, said)
    for name in 'pack.rel', 'data': assert command(f'{name}:example', cwd=tmp_path)[0] == 0
    assert 'no name' in sentence('pack.rel:x', cwd=tmp_path) and 'No module named' in sentence('pack.rle:x', cwd=tmp_path)
    as_module = [sys.executable, '-m', 'backprop_nb.commands.check_layer', 'data:x']
    assert subprocess.run(as_module, cwd=tmp_path, capture_output=True).returncode == 3

@pytest.mark.skipif(os.name != 'posix', reason='signals')
@pytest.mark.parametrize('sig,want', [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupts(put, tmp_path, sig, want):
    "Ctrl-C ends with 130 even where the file waits, and does not want to; nothing is left running"
    f = put(f'''
        import os, signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        open({str(tmp_path/'pid')!r}, 'w').write(f'{{os.getpid()}} ')
        time.sleep(1000)''')
    p = subprocess.Popen([*start, f'{f}:x'], stderr=subprocess.PIPE, text=True)
    def wait(until):
        end = time.time() + 30
        while not until():
            assert time.time() < end
            time.sleep(.05)
    wait(lambda: (tmp_path/'pid').exists() and (tmp_path/'pid').read_text().endswith(' '))
    pid = int((tmp_path/'pid').read_text())
    p.send_signal(sig)
    assert p.wait(30) == want
    assert want != 130 or p.stderr.read() == 'check_layer: interrupted\n'
    p.stderr.close()
    def gone():
        try: os.kill(pid, 0)
        except ProcessLookupError: return True
        try: return open(f'/proc/{pid}/stat').read().split()[2] == 'Z'   # dead, and nobody asked
        except OSError: return False
    wait(gone)

def test_seed_and_float64(put):
    f = put('import random, numpy as np\n' + fine + '''
assert (random.random(), np.random.rand(), float(torch.rand(()))) == (%s)
assert torch.get_default_dtype() is torch.float64
''')
    program = 'import random, numpy as np, torch; s = 5; random.seed(s); np.random.seed(s); torch.manual_seed(s); ' \
              'torch.set_default_dtype(torch.float64); print((random.random(), np.random.rand(), float(torch.rand(()))))'
    want = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout
    f.write_text(f.read_text() % want.strip()[1:-1])
    assert command(f'{f}:Cube', '--shapes', '4,3', '--seed', '5', '--float64')[0] == 0
    assert command(f'{f}:Cube', '--shapes', '4,3', '--seed', '5')[0] == 3

    def drawn(src):   # the same, whatever the file has drawn before
        f = f"{put(src, f'n{len(src)}.py')}:Cube"
        return module._prepare(module._parse([f, '--shapes', '4,3', '5:10']), f)[1]
    with torch.random.fork_rng(): a, b = drawn(fine), drawn(fine + 'torch.rand(7)')
    assert all(map(torch.equal, a, b)) and a[1].max() < 10

def test_odd_terminals(put):
    "A terminal that knows only ASCII gets the report all the same"
    f = put(fine.replace('class Cube', 'class Würfel').replace('Cube()', 'Würfel()').replace('example', 'größe'))
    assert command(f'{f}:größe', env=os.environ | dict(PYTHONIOENCODING='ascii'))[0] == 0

def test_nobody_reads(put):
    "check_layer ... | true: the exit status is the verdict"
    r, w = os.pipe()
    os.close(r)
    try: res = subprocess.run([*start, f'{put(fine)}:example'], stdout=w, stderr=subprocess.PIPE, text=True)
    finally: os.close(w)
    assert (res.returncode, res.stderr) == (0, '')

def test_a_layer_that_waits(put, monkeypatch, capsys):
    "What takes no notice of its budget is ended"
    monkeypatch.setattr(module, '_grace', 0)
    f = put('import time; time.sleep(1000)')
    assert module.main([f'{f}:x', '--budget', '1', '--json']) == 2
    d = json.loads(capsys.readouterr().out)
    assert d['status'] == 2 and 'after 1 seconds' in d['problem']

def test_an_error_of_its_own_is_not_a_verdict(monkeypatch, capsys):
    "A traceback would end with 1, which is wrong"
    monkeypatch.setattr(subprocess, 'Popen', lambda *a, **k: 1/0)
    assert module.main(['mine.py:x']) == 3 and 'ZeroDivisionError' in capsys.readouterr().err

new = {'params', 'batch', 'second', 'budget'} & set(inspect.signature(check.check_layer).parameters)

@pytest.mark.skipif(len(new) < 4, reason='check_layer has no such keywords yet')
def test_keywords_of_the_check(put):
    f = put(more)
    ok = f'{f}:example', '--batch', '0', '--second', '--budget', '30', '--rows'
    assert inside(*ok)[0] == 0, inside(*ok)
    f = put('''
        import torch
        class Scale:
            def __init__(self): self.weight = torch.ones(3)*2
            def forward(self, x): self.x = x; return x*self.weight
            def __call__(self, x): return self.forward(x)
            def backward(self, g): return g*self.weight
        ''')
    status, said = inside(f'{f}:Scale', '--shapes', '4,3', '--params', 'wieght')
    assert status == 3 and "is it 'weight'?" in said
    assert inside(f'{f}:Scale', '--shapes', '4,3', '--params', 'weight')[0] == 1

# assert_grad, in a suite of tests

assert_grad = getattr(check, 'assert_grad', None)
needs_it = pytest.mark.skipif(assert_grad is None, reason='check/layer has no assert_grad yet')

def double(x): return 2*x
def right(x, g): return 2*g
def wrong(x, g): return g

@needs_it
def test_assert_grad():
    x = torch.randn(4, 3)
    report = assert_grad((double, right), x)
    assert isinstance(report, Report) and report.ok and report.coverage['x.g'].compared == 12
    with pytest.raises(AssertionError) as e: assert_grad((double, wrong), x)
    assert 'WRONG' in str(e.value) and 'x.g' in str(e.value) and len(str(e.value).splitlines()) > 1
    with pytest.raises(AssertionError, match='not checked'): assert_grad((double, right), torch.arange(3))
    with pytest.raises(AssertionError, match='not checked'): assert_grad(5, x)
    def loss(x, z): return (x - z).square().sum()
    def loss_grad(x, z, g): return 2*(x - z)*g, None
    with pytest.raises(AssertionError, match="z.g"): assert_grad((loss, loss_grad), x, x + 1)
    assert assert_grad((loss, loss_grad), x, x + 1, data='z', name='my loss').title.startswith('my loss')
    passed = set(inspect.signature(check.check_layer).parameters) - {'layer', 'inputs'}
    taken = inspect.signature(assert_grad).parameters
    assert passed <= set(taken) or any(p.kind is p.VAR_KEYWORD for p in taken.values())

@needs_it
def test_assert_grad_in_a_suite(tmp_path):
    "With parametrize and with hypothesis; what fails shows the report"
    (tmp_path/'test_it.py').write_text(textwrap.dedent('''
        import pytest, torch
        from hypothesis import given, settings, strategies as st
        from backprop_nb.check.layer import assert_grad
        def double(x): return 2*x
        def right(x, g): return 2*g
        def wrong(x, g): return g
        def negative(x, g): return 2*g if len(x) < 4 else g
        @pytest.mark.parametrize('rule', [right, wrong])
        def test_rule(rule): assert_grad((double, rule), torch.randn(4, 3))
        @settings(max_examples=5, deadline=None, derandomize=True)
        @given(n=st.integers(1, 3), d=st.integers(1, 3))
        def test_sizes(n, d): assert_grad((double, right), torch.randn(n, d))
        @settings(max_examples=20, deadline=None, derandomize=True)
        @given(n=st.integers(1, 8))
        def test_large(n): assert_grad((double, negative), torch.randn(n, 2))
        '''))
    suite = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', tmp_path/'test_it.py']
    res = subprocess.run(suite, capture_output=True, text=True, cwd=tmp_path,
                         env=os.environ | dict(PYTHONPATH=os.pathsep.join(filter(None, sys.path))))
    assert res.returncode == 1 and '2 failed, 2 passed' in res.stdout, res.stdout
    assert 'test_rule[wrong]' in res.stdout and 'WRONG in' in res.stdout and 'x.g' in res.stdout
    assert 'n=4' in res.stdout   # the smallest that fails

def test_report_never_passes_for_right_of_nothing():
    x, none = Row('x.g', True, '', coverage=Coverage(3, 3)), Coverage(0, 3)
    for rows in [], [Row('float32', True, '')], [Row('x.g', True, '', coverage=none)], [x, Row('w.g', None, '', coverage=none)]:
        with pytest.raises(AssertionError, match='not checked'): Report('a', rows).raise_()
    assert Report('a', [x]).raise_() and not Report('a', [x], problem='no')
