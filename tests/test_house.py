"""The rules of the house: which room may know which, and what each notebook makes. CONTRIBUTING.md says them in words.

They are read from the text of the modules and of the notebooks. Each rule is a function that takes the folder of a repository and
yields one sentence for each breach; each is seen to find breaches planted in a small house that is built here.
"""
import ast, json, os, re, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
lib = 'backprop_nb'
longest,most_cells = 500,62                              # lines of a module, code cells of a notebook
below_check = 'foundations','modules'                    # the chapters that the checker stands on
front_door = 'gradcheck'                                 # the chapter that re-exports the checker
light = 'modules','losses','training','optim'            # what a user imports, and what that must not load
heavy = [f'{lib}.{o}' for o in ('check', 'gradcheck', 'scoreboard', 'core.draw', 'core.graph', 'core.stepper')] + ['matplotlib']

chapters = {'01': 'foundations', '02': 'modules', '03': 'nn_module', '04': 'gradcheck', '05': 'losses', '06': 'optim', '07': 'training',
            '07a': 'classifier', '07b': 'inside'}
to_come = {'08': 'autograd', '09': 'xray', '10': 'convnets', '11': 'norms', '12': 'transformer', '13': 'gpt', '14': 'speed', '15': 'parallel'}
rooms = {
    'core': 'guards compare examples data graph draw stepper files interrupts',
    'check': 'differences adapters oracle report trace diagnosis hypotheses layer scoreboard conventions',
    'commands': 'cli check train learner check_layer'}

# What there is

def modules(folder):
    "{name: text} of the modules in `folder`, such as foundations and core.guards; a room's own text is core.__init__"
    paths = sorted((folder/lib).rglob('*.py'))
    return {'.'.join(p.relative_to(folder/lib).with_suffix('').parts): p.read_text(encoding='utf-8') for p in paths if p.name != '_modidx.py'}

def notebooks(folder):
    "{name: the sources of its code cells} of the notebooks in `folder`, such as 01_foundations and core/guards"
    paths = [p for p in sorted((folder/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
    def code(p): return [''.join(c['source']) for c in json.loads(p.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    return {p.relative_to(folder/'nbs').with_suffix('').as_posix(): code(p) for p in paths}

def made_by(cells):
    "The modules that the cells of a notebook name"
    return [m[1] for src in cells for m in re.finditer(r'^#\|[ \t]*default_exp[ \t]+([\w.]+)', src, re.M)]

def sources(folder):
    "{module: its notebook}"
    return {m: name for name,cells in notebooks(folder).items() for m in made_by(cells)}

def room(module): return module.split('.')[0] if '.' in module else ''

def imports(name, tree, known):
    "What the module `name` imports of the package: (line, module or '', name or None), each import statement or alias by itself"
    here = name.split('.')[:-1]
    for o in ast.walk(tree):
        if isinstance(o, ast.Import):
            for a in o.names:
                if a.name.split('.')[0] == lib: yield o.lineno, a.name[len(lib) + 1:], None, a.asname or lib
        elif isinstance(o, ast.ImportFrom):
            base = o.module.split('.') if o.module else []
            if o.level: base = here[:len(here) - (o.level - 1)] + base
            elif base[:1] == [lib]: base = base[1:]
            else: continue
            for a in o.names:
                inner = '.'.join([*base, a.name])
                if inner in known or f'{inner}.__init__' in known: yield o.lineno, inner, None, a.asname or a.name
                else: yield o.lineno, '.'.join(base), a.name, a.asname or a.name

# The rules

def private(name): return name.startswith('_') and not name.endswith('__')

def crossings(folder):
    "(a) A name that begins with an underscore stays in its module: it is not imported, nor reached through what is"
    known = modules(folder)
    for name,text in known.items():
        tree,ours = ast.parse(text),set()
        for line,module,what,bound in imports(name, tree, known):
            ours.add(bound)
            if private(what or module.split('.')[-1] or bound): yield f'{name}, line {line}: {what or module} is private to {module or lib}'
        for o in ast.walk(tree):
            got = o.args[1].value if is_getattr(o) else getattr(o, 'attr', '')
            if not private(got): continue
            at = o.args[0] if is_getattr(o) else o.value
            while isinstance(at, ast.Attribute): at = at.value
            if isinstance(at, ast.Name) and at.id in ours: yield f'{name}, line {o.lineno}: {ast.unparse(o)} is private to another module'

def is_getattr(o):
    return (isinstance(o, ast.Call) and isinstance(o.func, ast.Name) and o.func.id in ('getattr', 'setattr') and len(o.args) > 1
            and isinstance(o.args[1], ast.Constant) and isinstance(o.args[1].value, str))

def arrows(folder):
    "{module: the modules that it imports}, also those that it imports late, within a function"
    known = modules(folder)
    out = {}
    for name,text in known.items():
        found = [o for o in imports(name, ast.parse(text), known)]
        to = {m for _,m,what,_ in found if m}
        out[name] = {m if m in known else f'{m}.__init__' for m in to if m in known or f'{m}.__init__' in known} - {name}
    return out

def forbidden(folder):
    "(b) Arrows go one way, and never in a circle"
    order = {m: i for i,m in enumerate(sorted(sources(folder), key=lambda m: sources(folder)[m])) if not room(m)}
    graph = arrows(folder)
    def allowed(a, b):
        if room(b) == 'core' or room(a) == 'commands': return True
        if b == front_door or room(b) == 'commands' or room(a) == 'core': return False
        if room(a) == 'check': return room(b) == 'check' or b in below_check
        if room(b) == 'check': return a == front_door
        return b in order and order.get(a, -1) > order[b]
    for a,to in sorted(graph.items()):
        if a == '__init__': yield from (f'the package itself imports {b}' for b in to)
        else: yield from (f'{a} must not import {b}' for b in sorted(to) if not allowed(a, b))
    done = set()
    def walk(a, path):
        if a in path:
            ring = path[path.index(a):]
            i = ring.index(min(ring))
            yield 'a circle: ' + ' > '.join([*ring[i:], *ring[:i + 1]])
        elif a not in done:
            for b in sorted(graph.get(a, ())): yield from walk(b, [*path, a])
            done.add(a)
    for a in sorted(graph): yield from walk(a, [])

def long_modules(folder):
    "(c) No module is longer than a reader can hold"
    for name,text in modules(folder).items():
        if (n := len(text.splitlines())) > longest: yield f'{name} has {n} lines, and may have {longest}'

def misplaced(folder):
    "(d) One notebook, one module"
    made = {}
    for name,cells in notebooks(folder).items():
        for m in made_by(cells): made.setdefault(m, []).append(name)
        if len(o := made_by(cells)) > 1: yield f"{name} makes {' and '.join(o)}"
        for src in cells:
            for m in re.finditer(r'^#\|[ \t]*(exports?|exporti)[ \t]+(\S+)', src, re.M): yield f'{name} exports to {m[2]}, which is not its own'
            if re.search(r'^#\|[ \t]*export', src, re.M) and not made_by(cells): yield f'{name} exports, and has no default_exp'; break
        if len(cells) > most_cells: yield f'{name} has {len(cells)} code cells, and may have {most_cells}'
    there = {m for m in modules(folder) if m.split('.')[-1] != '__init__'}
    yield from (f"{m} is made by {' and '.join(o)}" for m,o in made.items() if len(o) > 1)
    yield from (f'{m} is made by no notebook' for m in sorted(there - made.keys()))
    yield from (f'{m} is not there: export {made[m][0]}' for m in sorted(made.keys() - there))

def loads(folder):
    "(e) What a layer needs is light"
    program = f'''import sys
for o in {light}:
    __import__({lib!r} + '.' + o)
    for bad in [h for h in {heavy} if h in sys.modules]:
        print(o, 'loads', bad)
        for k in [k for k in sys.modules if (k + '.').startswith(bad + '.')]: del sys.modules[k]'''
    env = os.environ | dict(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE='1')
    res = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, env=env, cwd=folder)
    if res.returncode: yield res.stderr
    yield from res.stdout.splitlines()

def names(folder):
    "(f) The chapters and the rooms are those of the plan, and each notebook is called like its module"
    nbs = notebooks(folder)
    made = {name: (made_by(cells) or [''])[0] for name,cells in nbs.items()}
    for number,topic in chapters.items():
        if f'{number}_{topic}' not in nbs: yield f'the chapter {number}_{topic} is missing'
    for name,m in made.items():
        where,_,last = name.rpartition('/')
        if not where:
            if not (o := re.fullmatch(r'(\d\d[a-z]?)_(\w+)', name)):
                if m: yield f'{name} makes {m}, and is no chapter: it has no number'
                continue
            want = (chapters | to_come).get(o[1], o[2])
            if (o[2], m) != (want, want): yield f"{name} makes {m or 'no module'}: the chapter {o[1]} is {want}"
        elif where not in rooms: yield f'there is no room {where}'
        elif last == 'index':
            if m: yield f'{name} is the page of a room, and makes {m}'
        elif last[0].isdigit(): yield f'{name} has a number'
        elif m not in ('', f'{where}.{last}'): yield f'{name} makes {m}'
    for where,parts in rooms.items():
        yield from (f'{where}/{o} is missing' for o in ['index']*(where != 'commands') + parts.split() if f'{where}/{o}' not in nbs)

def unlisted(folder):
    "(g) The plan of the house names every notebook, and the page of a room those in it"
    nbs = list(notebooks(folder))
    def page(name):
        cells = json.loads((folder/'nbs'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells'] if name in nbs else []
        return '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    for name in nbs:
        where,_,last = name.rpartition('/')
        first = f'{where}/index' if f'{where}/index' in nbs else 'core/index'   # which leads to the commands, too
        if where and last != 'index' and f'`{name}`' not in page(first): yield f'{first} does not name {name}'
        if (where or name[0].isdigit()) and f'`{name}`' not in page('house'): yield f'house does not name {name}'

rules = crossings,forbidden,long_modules,misplaced,loads,names,unlisted

@pytest.mark.parametrize('rule', rules, ids=lambda o: o.__name__)
def test_the_house(rule):
    found = list(rule(root))
    assert not found, '\n'.join(found)

# Each rule, on a small house with a breach in it

def notebook(path, module='', *cells, prose=''):
    "A notebook that makes `module`"
    first = [f'#| default_exp {module}'] if module else []
    body = [dict(cell_type='code', id=str(i), metadata={}, source=src, outputs=[], execution_count=None) for i,src in enumerate([*first, *cells])]
    if prose: body.append(dict(cell_type='markdown', id='prose', metadata={}, source=prose))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=body, metadata={}, nbformat=4, nbformat_minor=5)))

def write_module(folder, name, src):
    p = (folder/lib).joinpath(*name.split('.')).with_suffix('.py')
    p.parent.mkdir(parents=True, exist_ok=True)
    p.write_text(src)

@pytest.fixture
def house(tmp_path):
    "A house in which all is well: every chapter and every room of the plan, with next to nothing in it"
    text = {'core.compare': 'from .guards import shapes', 'foundations': 'from .core.compare import *\nfrom .core import guards\nguards.shapes',
            'modules': 'from .foundations import *\nimport backprop_nb\nfrom backprop_nb.core.guards import shapes\nbackprop_nb.__version__',
            'losses': 'from .modules import *\ndef plot():\n    from .core.draw import draw\n    import matplotlib', 'core.guards': 'def shapes(): 0\ndef _own(): 0\n_own()',
            'check.differences': 'from ..core import *\nfrom ..modules import *\nclass A:\n    def f(self): self._own', 'check.layer': 'from .differences import *\nfrom . import differences',
            'core.draw': 'import matplotlib', 'gradcheck': 'from .check.layer import *', 'commands.check_layer': 'from ..gradcheck import *\nfrom .cli import *\nfrom ..losses import *'}
    def module(name, src): write_module(tmp_path, name, src)
    for number,o in chapters.items():
        notebook(tmp_path/'nbs'/f'{number}_{o}.ipynb', o)
        module(o, text.get(o, ''))
    named = {where: [f'`{where}/{o}`' for o in [*parts.split(), 'index']] for where,parts in rooms.items()}
    notebook(tmp_path/'nbs'/'house.ipynb', prose=' '.join([*(f'`{k}_{v}`' for k,v in chapters.items()), *sum(named.values(), [])]))
    for where,parts in rooms.items():
        notebook(tmp_path/'nbs'/where/'index.ipynb', prose=' '.join(named[where]))
        module(f'{where}.__init__', '')
        for o in parts.split():
            notebook(tmp_path/'nbs'/where/f'{o}.ipynb', f'{where}.{o}')
            module(f'{where}.{o}', text.get(f'{where}.{o}', ''))
    module('__init__', '__version__ = "0"')
    module('_modidx', 'd = {}\n'*1000)
    notebook(tmp_path/'nbs'/'index.ipynb')
    (tmp_path/'matplotlib.py').write_text('')                # stands in for the real one
    return tmp_path

# rule, what is written where (a module, or a notebook and its module), what the rule must say
breaches = [
    (crossings, 'modules', 'from .foundations import lin, _lin', '_lin is private to foundations'),
    (crossings, 'modules', 'from backprop_nb.foundations import _lin as lin', '_lin is private'),
    (crossings, 'modules', 'def f():\n    from .foundations import _lin', 'modules, line 2: _lin'),
    (crossings, 'commands.cli', 'from ..core.guards import _own', '_own is private to core.guards'),
    (crossings, 'losses', 'from .core import guards\nguards._own(1)', 'losses, line 2: guards._own'),
    (crossings, 'losses', 'import backprop_nb.modules as m\nm._own', 'm._own'),
    (crossings, 'losses', 'import backprop_nb\nbackprop_nb.core.guards._own', 'backprop_nb.core.guards._own'),
    (crossings, 'losses', 'from .modules import Module\nModule._find(1)', 'Module._find'),
    (crossings, 'losses', 'from . import modules\ngetattr(modules, "_own")', '_own'),
    (crossings, 'losses', 'from . import _modules', '_modules is private'),
    (forbidden, 'core.guards', 'from ..foundations import lin', 'core.guards must not import foundations'),
    (forbidden, 'core.guards', 'def f():\n    from ..modules import Module', 'core.guards must not import modules'),
    (forbidden, 'modules', 'from .losses import *', 'modules must not import losses'),
    (forbidden, 'modules', 'import backprop_nb.losses', 'modules must not import losses'),
    (forbidden, 'training', 'from . import classifier', 'training must not import classifier'),
    (forbidden, 'losses', 'from .check.layer import check_layer', 'losses must not import check.layer'),
    (forbidden, 'losses', 'from . import check', 'losses must not import check.__init__'),
    (forbidden, 'losses', 'from .gradcheck import examples', 'losses must not import gradcheck'),
    (forbidden, 'check.scoreboard', 'from ..gradcheck import *', 'check.scoreboard must not import gradcheck'),
    (forbidden, 'check.adapters', 'from ..nn_module import *', 'check.adapters must not import nn_module'),
    (forbidden, 'check.adapters', 'from ..commands.cli import stop', 'check.adapters must not import commands.cli'),
    (forbidden, 'optim', 'from .commands.cli import stop', 'optim must not import commands.cli'),
    (forbidden, '__init__', 'from .modules import *', 'the package itself imports modules'),
    (forbidden, 'core.guards', 'from .compare import rel_err', 'a circle: core.compare > core.guards > core.compare'),
    (forbidden, 'check.differences', 'def f(): from . import layer', 'a circle: check.differences > check.layer > check.differences'),
    (long_modules, 'core.guards', 'x = 1\n'*501, 'core.guards has 501 lines'),
    (misplaced, 'core.more', '', 'core.more is made by no notebook'),
    (misplaced, ('core/more', 'core.more'), (), 'core.more is not there'),
    (misplaced, ('core/compare', 'core.guards'), (), 'core.guards is made by core/compare and core/guards'),
    (misplaced, ('05_losses', 'losses'), ['#| export modules\nx = 1'], '05_losses exports to modules'),
    (misplaced, ('05_losses', 'losses'), ['#| default_exp optim'], '05_losses makes losses and optim'),
    (misplaced, ('more', ''), ['#| export\nx = 1'], 'more exports, and has no default_exp'),
    (misplaced, ('05_losses', 'losses'), ['1']*62, '05_losses has 63 code cells'),
    (loads, 'losses', 'import matplotlib', 'losses loads matplotlib'),
    (loads, 'training', 'from .core import draw', 'training loads backprop_nb.core.draw'),
    (loads, 'modules', 'import backprop_nb.check.layer', 'modules loads backprop_nb.check'),
    (loads, 'optim', 'from . import gradcheck', 'optim loads backprop_nb.gradcheck'),
    (loads, 'losses', 'import nowhere', 'nowhere'),
    (names, '-05_losses', '', 'the chapter 05_losses is missing'),
    (names, '-check/oracle', '', 'check/oracle is missing'),
    (names, '-check/index', '', 'check/index is missing'),
    (names, ('08_engine', 'engine'), (), 'the chapter 08 is autograd'),
    (names, ('16_toy', 'game'), (), 'the chapter 16 is toy'),
    (names, ('05_losses', ''), (), 'makes no module'),
    (names, ('toy', 'toy'), (), 'it has no number'),
    (names, ('attic/toy', 'attic.toy'), (), 'there is no room attic'),
    (names, ('core/01_toy', 'core.toy'), (), 'core/01_toy has a number'),
    (names, ('core/toy', 'core.game'), (), 'core/toy makes core.game'),
    (names, ('core/index', 'core.index'), (), 'the page of a room'),
    (unlisted, ('16_toy', 'toy'), (), 'house does not name 16_toy'),
    (unlisted, ('core/toy', 'core.toy'), (), 'core/index does not name core/toy')]

@pytest.mark.parametrize('rule', rules, ids=lambda o: o.__name__)
def test_a_good_house_has_no_breach(house, rule): assert not list(rule(house))

@pytest.mark.parametrize('rule,where,what,said', breaches, ids=lambda o: getattr(o, '__name__', None))
def test_a_planted_breach_is_found(house, rule, where, what, said):
    if isinstance(where, tuple): notebook(house/'nbs'/f'{where[0]}.ipynb', where[1], *what)
    elif where[0] == '-': (house/'nbs'/f'{where[1:]}.ipynb').unlink()
    else: write_module(house, where, what)
    found = list(rule(house))
    assert any(said in o for o in found), found
    if rule is not loads: assert len([o for o in found if 'circle' not in o]) <= 2, found   # and it cries about nothing else

def test_every_rule_has_been_broken(): assert {o[0] for o in breaches} == set(rules)
