"What docs/ makes of notebooks and modules, on small ones written here; neither Sphinx nor torch is needed"
import ast, importlib, json, re, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tools')]
chapters,api,check = (importlib.import_module(o) for o in ('chapters', 'api', 'check'))
from chapters import Chapter

def code(src, outputs=(), id='abc'): return dict(cell_type='code', id=id, metadata={}, source=src, outputs=list(outputs))
def svg(text='<svg viewBox="0 0 1 1"><use xlink:href="#a"/><path id="a" fill="#7a7a7a" d="M 1.23456 -2.000001 30" clip-path="url(#a)"/><g id="b"/></svg>'):
    return dict(output_type='display_data', metadata={}, data={'image/svg+xml': text, 'text/plain': 'x'})
def one(src, outputs=(), exported=None): return chapters.code_cell(code(src, outputs), Chapter('01_x', [], module='x'), exported or {})

# Notebooks

def test_directives():
    d,rest = chapters.directives('#| export\n#|code-fold: true\n#| fig-cap: "a: \\"b\\""\n#| fig-alt: plain: text\nx = 1\n#| hide')
    assert d == {'export': '', 'code-fold': 'true', 'fig-cap': 'a: "b"', 'fig-alt': 'plain: text'} and rest == 'x = 1\n#| hide'

@pytest.mark.parametrize('src', ['#| hide\nx', '#| default_exp x', '#| include: false\nx', '  ', '#| export\n'])
def test_left_out(src): assert one(src) == []

@pytest.mark.parametrize('line,tag', [('echo: false', 'remove-input'), ('output: false', 'remove-output'), ('code-fold: true', 'hide-input')])
def test_tags(line, tag): assert one(f'#| {line}\nx')[0]['metadata']['tags'] == [tag]

def test_unknown_directive_is_refused():
    with pytest.raises(ValueError, match='01_x.*code-folded'): one('#| code-folded: true\nx')

def test_exported():
    mark,cell = one('#| export\ndef f(): 0', exported={'abc': ['x.f']})
    assert 'exported' in cell['metadata']['tags'] and '(cell-abc)=' in mark['source'] and '{py:obj}`x <x.f>`' in mark['source']
    assert '[`x`](api/x.md)' in one('#| export\nimport torch')[0]['source'] and '[`y`](api/y.md)' in one('#| export y\nimport torch')[0]['source']
    inner = chapters.code_cell(code('#| export\nimport torch'), Chapter('core/guards', [], module='core.guards'), {})
    assert '[`core.guards`](../api/core.guards.md)' in inner[0]['source']

def test_figure():
    cell, = one('#| fig-cap: What $x$ does\n#| fig-alt: "a <b> & \\"c\\""\nplot()', [svg()])
    html = cell['outputs'][0]['data']['text/html']
    assert cell['metadata']['mystnb']['figure']['caption'] == 'What $x$ does' and 'image/svg+xml' not in cell['outputs'][0]['data']
    assert 'role="img" aria-label="a &lt;b> &amp; &quot;c&quot;"' in html and 'currentColor' in html and '#7a7a7a' not in html
    for part in 'id="fabc-0-0"', ' href="#fabc-0-0"', 'url(#fabc-0-0)', 'd="M 1.23 -2 30"', '<g/>': assert part in html

def test_figure_without_alternative_text_is_refused():
    with pytest.raises(ValueError, match='fig-alt'): one('plot()', [svg()])
    interactive = svg()
    interactive['data']['text/html'] = '<b>stepper</b>'
    assert one('plot()', [interactive])[0]['outputs'][0]['data']['text/html'] == '<b>stepper</b>'

def test_chapter_links():
    book = {'07_training': Chapter('07_training', [], 'Training')}
    assert chapters.to_link('see `07_training` and `08_autograd`', book) == 'see [07 Training](07_training.ipynb) and `08_autograd`'
    assert chapters.to_link('[`07_training`](x)', book) == '[`07_training`](x)'
    book |= {o: Chapter(o, [], t) for o,t in {'core/guards': 'A guard', 'core/files': 'Files', 'check/index': 'The checker'}.items()}
    said = 'see `core/guards`, `check/index`, `core/none` and `x/y`'
    assert chapters.to_link(said, book) == 'see [`core/guards`](core/guards.ipynb), [The checker](check/index.ipynb), `core/none` and `x/y`'
    said = chapters.to_link('`core/guards` `check/index` `07_training`', book, 'core/files')
    assert said == '[`core/guards`](guards.ipynb) [The checker](../check/index.ipynb) [07 Training](../07_training.ipynb)'

def test_equations():
    src = 'By (1) and f(1), `(1)` and $a(1)$, not (3):\n\n$$a = b \\tag{1}$$\n\n```\n(1)\n```'
    out = chapters.with_equations(src, {'1'})
    assert out == src.replace('By (1)', 'By [(1)](#eq-1)').replace('$$a', '(eq-1)=\n$$a')

def test_heading_and_contents(tmp_path):
    nb = dict(cells=[dict(cell_type='markdown', id='1', source=['# Losses\n', '\n', '> A *promise*\n', '\n', 'Text']), code('#| default_exp losses'),
                     dict(cell_type='markdown', id='2', source='## First\n\n> a quote\n\n## Your turn')])
    (tmp_path/'05_losses.ipynb').write_text(json.dumps(nb))
    chap = chapters.read(tmp_path/'05_losses.ipynb')
    assert (chap.full_title, chap.promise, chap.module, chap.sections) == ('05 Losses', 'A *promise*', 'losses', ['First', 'Your turn'])
    first,second = chapters.staged(chap, {}, {}, links='[Colab](https://c)')['cells']
    assert first['source'] == '# [05]{.chapter-number} Losses\n\n{.promise}\n> A *promise*\n\n{.launch}\n[Colab](https://c)\n\nText'
    assert second['source'] == '## First\n\n> a quote\n\n## Your turn'
    page = chapters.contents([chap], lambda m: False)
    assert '[**05** Losses](05_losses.ipynb)' in page and 'A *promise*' in page and 'First' in page and 'Your turn' not in page

def house(folder, **more):
    "Notebooks as they lie in the rooms, each with a title and a module; `more`: what else a page says"
    for name,module in {'index': '', 'house': '', '02_modules': 'modules', '01_foundations': 'foundations', '07a_classifier': 'classifier', '07_training': 'training',
                        'core/index': '', 'core/guards': 'core.guards', 'core/files': 'core.files', 'check/index': '', 'check/layer': 'check.layer',
                        'check/conventions': '', 'commands/index': '', 'commands/cli': 'commands.cli'}.items():
        text = more.get(name.replace('/', '_'), '')
        nb = dict(cells=[dict(cell_type='markdown', id='1', source=f'# The page {name}\n\n> A promise\n\n{text}'), *[code(f'#| default_exp {module}')]*bool(module)])
        (folder/f'{name}.ipynb').parent.mkdir(parents=True, exist_ok=True)
        (folder/f'{name}.ipynb').write_text(json.dumps(nb))
    return folder
linked = dict(core_index='`core/guards` and [files](files.ipynb), `core/guards`', check_index='`core/files` `check/layer` [c](../check/conventions.ipynb)', commands_index='`commands/cli`')

def test_the_order_of_the_site(tmp_path):
    "The chapters, then the checker, then how it is made; within a room as its first page has it"
    (tmp_path/'.ipynb_checkpoints').mkdir()
    (tmp_path/'.ipynb_checkpoints/01_foundations.ipynb').write_text('{}')
    book = chapters.book(house(tmp_path, **linked))
    assert list(book) == ['01_foundations', '02_modules', '07_training', '07a_classifier', 'check/index', 'check/layer', 'check/conventions',
                          'house', 'core/index', 'core/guards', 'core/files', 'commands/index', 'commands/cli']
    assert [book[o].module for o in ('01_foundations', 'core/guards', 'check/conventions')] == ['foundations', 'core.guards', None]
    assert [chapters.caption(book[o]) for o in ('07_training', 'check/layer', 'house', 'commands/cli')] == ['The book', 'The checker', *['How it is made']*2]
    page = chapters.contents(book.values(), lambda m: False)
    assert page.count('## How it is made') == 1 and '- [The page core/guards](core/guards.ipynb) A promise' in page
    first = chapters.staged(book['core/guards'], book, {})['cells'][0]['source']
    assert first.startswith('# [core/guards]{.chapter-number} The page core/guards\n\n{.promise}')

def test_a_room_without_a_page_stands_below_core(tmp_path):
    house(tmp_path, **linked | dict(core_index='`commands/cli` `core/guards` `core/files`'))
    (tmp_path/'commands/index.ipynb').unlink()
    assert list(chapters.book(tmp_path))[-4:] == ['core/index', 'commands/cli', 'core/guards', 'core/files']

def test_a_notebook_that_no_page_leads_to_is_refused(tmp_path):
    with pytest.raises(ValueError, match='core/index does not link core/files'): chapters.book(house(tmp_path, **linked | dict(core_index='`core/guards`')))
    (tmp_path/'commands/index.ipynb').unlink()
    with pytest.raises(ValueError, match='core/index does not link commands/cli, core/files'): chapters.book(tmp_path)
    (tmp_path/'check/index.ipynb').unlink()
    for o in 'guards', 'files': (tmp_path/f'core/{o}.ipynb').unlink()
    (tmp_path/'commands/cli.ipynb').unlink()
    with pytest.raises(ValueError, match='core/index does not link check/conventions, check/layer'): chapters.book(tmp_path)

def test_what_stands_below_a_page():
    pytest.importorskip('sphinx', reason='docs/requirements.txt is not installed')
    from build import below
    some = [Chapter(o, []) for o in ('house', 'core/index', 'core/guards', 'commands/cli', 'x/index', 'x/y')]
    assert [[o.name for o in below(some[i], some)] for i in (1, 4)] == [['core/guards', 'commands/cli'], ['x/y']]

def test_the_order_in_which_modules_are_met():
    pytest.importorskip('sphinx', reason='docs/requirements.txt is not installed')
    from build import reading
    site = ['foundations', 'gradcheck', 'losses', 'check.layer', 'core.guards', 'commands.cli']
    assert reading(site) == ['core.guards', 'foundations', 'check.layer', 'gradcheck', 'losses', 'commands.cli']

# The package

module = '''"A promise"

__all__ = ['f', 'A', 'B', 'D', 'limit', 'gone']

# %% ../nbs/05_losses.ipynb #c1
limit = 3 # how far

@shapes('x: n d, y: n, z: *s')
def f(
    x,        # the input
    y, k=1,   # how `often`
    *args,
) -> int:
    "Say a*b <c> -> `d`"
    if k: raise RuntimeError(f'{k} is bad: {x}')
    _help(x)

def _help(x): raise KeyError('hidden')

# %% ../nbs/05_losses.ipynb #c2
class A:
    "An A"
    def __init__(self, n): # how many
        if n < 1: raise ValueError('A needs one')
    def forward(self, x): return x
    def said(self):
        "A method"
@patch
@torch.no_grad()
def back(self:A, x=1):
    "A patched one"
@patch
def bare(self:A): pass
class B(A): "A B"
@dataclass
class D:
    "A D"
    name: str # what it is called
    n: int = 0
'''

@pytest.fixture
def package(tmp_path):
    (tmp_path/'losses.py').write_text(module)
    (tmp_path/'_hidden.py').write_text(module)
    res = api.read(tmp_path)
    api.inherit(res)
    return res

def test_api_reads_everything(package):
    e = {o.name: o for o in package['losses'].entries}
    assert list(package) == ['losses'] and list(e) == ['limit', 'f', 'A', 'A.said', 'A.back', 'B', 'D']
    assert e['f'].sig == '(x, y, k=1, *args) -> int' and e['f'].params == {'x': 'the input', 'k': 'how `often`'} and e['f'].cell == 'c1'
    assert e['f'].raises == {'TypeError': [], 'ValueError': [], 'RuntimeError': ['… is bad: …'], 'KeyError': []}
    assert e['A'].sig == '(n)' and e['A'].params == {'n': 'how many'} and e['A'].raises == {'ValueError': ['A needs one']}
    assert e['A'].bare == ['forward(x)', 'bare()'] and e['A.back'].sig == '(x=1)' and e['A'].cell == 'c2' and e['B'].sig == '(n)'
    assert e['D'].sig == "(name: str, n: int = 0)" and e['D'].params == {'name': 'what it is called'} and e['limit'].doc == 'how far'

def test_api_renders(package):
    e = {o.name: o for o in package['losses'].entries}
    s = api.render(e['f'], '05 Losses', 'https://h/losses.py')
    for part in ('{py:function} f(x, y, k=1, *args) -> int', r'Say a\*b \<c\> → `d`', ':param k: how `often`', '`x` $(n, d)$, `y` $(n{,})$, `z` of any one shape',
                 ':raises TypeError, ValueError, KeyError: in one', ':raises RuntimeError: “… is bad: …”', f"https://h/losses.py#L{e['f'].line}", '(#cell-c1)'):
        assert part in s, part
    assert ':extends: `A`' in api.render(e['B'], None, '') and '`forward(x)`' in api.render(e['A'], None, '')

def test_api_misses_nothing(package, tmp_path):
    assert list(api.missing(package)) == ['losses.gone is exported, but has no entry']
    (tmp_path/'more.py').write_text("__all__ = ['f', 'gone']\nfrom .losses import f, gone\n")   # f has its entry there
    assert list(api.missing(api.read(tmp_path)))[1:] == ['more.gone is exported, but has no entry']
    (tmp_path/'more.py').unlink()
    (tmp_path/'losses.py').write_text(module.replace("    \"Say a*b <c> -> `d`\"\n", '').replace(' # how far', '').replace(", 'gone'", ''))
    assert sorted(api.missing(api.read(tmp_path))) == ['losses.f has no docstring', 'losses.limit has no comment that says what it is']

@pytest.fixture
def deep(tmp_path):
    "A package with rooms: the checker's front door passes on what lies behind it"
    for name,text in {
            'core/__init__': '', 'core/guards': '"Guards"\n__all__ = ["shapes"]\n# %% ../../nbs/core/guards.ipynb #c7\ndef shapes(): "Asks"',
            'check/layer': '__all__ = ["check_layer"]\nfrom ..core.guards import *\ndef check_layer(): "Checks"',
            'gradcheck': '"The front door"\n__all__ = ["check_layer", "shapes", "look"]\nfrom .check.layer import *\nfrom backprop_nb.core.guards import shapes\nfrom .core import guards',
            'nn_module': '__all__ = ["go"]\nfrom .core.guards import shapes\ndef go(): "Goes"\n@patch\ndef to_torch(self:Linear): "Over the border"'}.items():
        p = tmp_path/'backprop_nb'/f'{name}.py'
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(text)
    return api.read(tmp_path/'backprop_nb')

def test_api_knows_the_rooms(deep):
    assert list(deep) == ['check.layer', 'core.guards', 'gradcheck', 'nn_module']
    e, = deep['core.guards'].entries
    assert (e.full, e.cell, e.notebook) == ('core.guards.shapes', 'c7', 'core/guards')
    assert deep['gradcheck'].borrowed(deep) == {'check_layer': 'check.layer.check_layer', 'shapes': 'core.guards.shapes'}
    assert not deep['nn_module'].borrowed(deep) and not deep['check.layer'].borrowed(deep)   # what they use, they do not pass on
    assert [o.full for o in deep['nn_module'].entries] == ['nn_module.go', 'nn_module.Linear.to_torch']
    assert list(api.missing(deep)) == ['gradcheck.look is exported, but has no entry']

def test_a_table_that_is_filled_is_not_passed_on(deep):
    m = deep['gradcheck']
    assert len(api.elsewhere(m, deep)) == 1 and 'shapes' in api.elsewhere(m, deep)[0]
    m.tree.body.append(ast.parse('shapes |= {1: 2}').body[0])
    assert 'shapes' not in api.elsewhere(m, deep)[0] and not list(api.missing(deep))[1:]

def test_the_change_log_names_what_is_there():
    "Of each line of the table of names: the new module, and in it the new names, or those that only moved"
    modules = api.read(root/'backprop_nb')
    have = {e.full for m in modules.values() for e in m.entries}
    rows = re.findall(r'^\| (.*?backprop_nb\..*?) \| (.*?backprop_nb\..*?) \|$', (root/'CHANGELOG.md').read_text(encoding='utf-8'), re.M)
    assert len(rows) > 30
    for old,new in rows:
        (first,*more),was = re.findall(r'`([\w.]+)`', new),re.findall(r'`([\w.]+)`', old)[1:]
        first = first.removeprefix('backprop_nb.')
        if first in modules: want = {f'{first}.{o}' for o in more or was}
        else: want = {first, *(first.rpartition('.')[0] + o for o in more)}
        assert want and want <= have, (old, new, want - have)

def test_api_shows_what_a_module_passes_on(deep):
    chap = Chapter('04_gradcheck', [], 'Trust', module='gradcheck')
    page = api.page(deep['gradcheck'], [chap], {chap.name: chap}, 'https://h/gradcheck.py', deep)
    said = 'From elsewhere: {py:obj}`check_layer <check.layer.check_layer>`, {py:obj}`shapes <core.guards.shapes>`'
    assert said in page and 'Chapter [04 Trust](../04_gradcheck.ipynb)' in page
    room = Chapter('core/guards', [], 'A guard', module='core.guards')
    page = api.page(deep['core.guards'], [room], {room.name: room}, 'https://h/core/guards.py', deep)
    assert '# `core.guards`' in page and 'Notebook [A guard](../core/guards.ipynb)' in page and 'currentmodule} core.guards' in page
    page = api.index({'The book': [deep['gradcheck']], 'How it is made': [deep['core.guards']]}, 'backprop_nb', deep)
    for part in '## How it is made', '### [`core.guards`](core.guards.md)', said, '{py:obj}`shapes <core.guards.shapes>` Asks', '\ngradcheck\ncore.guards\n```':
        assert part in page, part
    assert page.count('{.names}') == 2

def test_every_exported_name_has_an_entry():
    "Against the package itself, by another way than api.py's: every name in every `__all__`, every public @patch method with a docstring"
    modules = api.read(root/'backprop_nb')
    have = {e.full for m in modules.values() for e in m.entries}
    for p in (root/'backprop_nb').rglob('[!_]*.py'):
        ns,where = {},'.'.join(p.relative_to(root/'backprop_nb').with_suffix('').parts)
        tree = ast.parse(p.read_text(encoding='utf-8'))
        for o in tree.body:
            if isinstance(o, ast.Assign) and ast.unparse(o.targets[0]) == '__all__': exec(compile(ast.Module([o], []), '', 'exec'), ns)
        ours = {a.name for o in tree.body if isinstance(o, ast.ImportFrom) and o.level for a in o.names}   # they have their entries there
        if '*' in ours: ours |= set(ns.get('__all__', [])) - defined(tree)
        want = {f'{where}.{o}' for o in ns.get('__all__', []) if o not in ours}
        for o in tree.body:
            if isinstance(o, ast.FunctionDef) and 'patch' in map(ast.unparse, o.decorator_list) and ast.get_docstring(o) and o.name[0] != '_':
                if (cls := ast.unparse(o.args.args[0].annotation))[0] != '_': want.add(f'{where}.{cls}.{o.name}')
        assert want <= have, want - have

def defined(tree):
    "The names that the statements of a module define"
    return {getattr(o, 'name', None) or ast.unparse(o.targets[0]) for o in tree.body if isinstance(o, (ast.FunctionDef, ast.ClassDef, ast.Assign))}

def test_nothing_is_empty(): assert not list(api.missing(api.read(root/'backprop_nb')))

def test_names_lead_to_the_right_chapter():
    pytest.importorskip('sphinx', reason='docs/requirements.txt is not installed')
    from links import targets
    order,objects = ['data', 'modules', 'losses'],{'data.tanh': 1, 'modules.Linear': 2, 'losses.tanh': 3, 'losses.nll': 4, 'modules.Linear.bwd': 5}
    t = targets(objects, order, 'modules')
    assert (t.get('tanh'), t.get('Linear'), t.get('nll'), t.get('losses.nll'), t.get('backprop_nb.losses.nll')) == (1, 2, None, 4, 4)
    assert t.get('Linear.bwd') == 5 and t.get('bwd') is None and targets(objects, order, 'losses')['tanh'] == 3
    assert targets(objects, order, None)['tanh'] is None   # elsewhere, of two things one cannot know which is meant
    order,objects = ['core.guards', 'modules', 'check.layer', 'losses'],{'core.guards.shapes': 1, 'modules.Linear': 2, 'check.layer.adapt': 3, 'losses.nll': 4}
    t = targets(objects, order, 'modules')
    assert [t.get(o) for o in ('shapes', 'guards.shapes', 'core.guards.shapes', 'backprop_nb.core.guards.shapes', 'Linear', 'adapt', 'nll')] == [1, 1, 1, 1, 2, None, None]
    assert targets(objects, order, 'losses')['adapt'] == 3 and targets(objects, order, 'core.guards')['nll'] == 4   # a room may speak of all

# The finished site

good = '<html><body id="top"><a href="b.html#x">b</a> <a href="https://elsewhere.org">e</a><img src="i.svg" alt="i"></body></html>'
planted = {
    'links to c.html, which is not there': '<a href="c.html">', 'no such place': '<a href="b.html#y">', 'no such place on that page': '<a href="#nowhere">',
    'KaTeX does not understand': '<span class="katex-error">', 'without alternative text': '<img src="i.svg">', 'figure without': '<svg role="img"></svg>',
    'nothing may come from elsewhere': '<script src="//cdn.org/a.js"></script>', 'come from elsewhere': '<link rel="stylesheet" href="https://cdn.org/a.css">',
    'loads f.js, which is not there': '<script src="f.js"></script>', 'are allowed': 'x'*check.page_limit}

@pytest.fixture
def site(tmp_path):
    for name,text in {'a.html': good, 'b.html': '<p id="x">', 'i.svg': '<svg/>', 's.css': 'a{background:url(i.svg)}'}.items(): (tmp_path/name).write_text(text)
    return tmp_path

def test_a_good_site_has_no_fault(site): assert not list(check.faults(site))

@pytest.mark.parametrize('fault,html', planted.items())
def test_a_planted_fault_is_found(site, fault, html):
    (site/'a.html').write_text(good.replace('</body>', html + '</body>'))
    assert len(found := list(check.faults(site))) == 1 and fault in found[0], found

def test_a_font_from_elsewhere_is_found(site):
    (site/'s.css').write_text('@import url("https://fonts.org/f"); a{src:url(gone.woff2)}')
    assert len(list(check.faults(site))) == 2

# What nbdev_docs needs

def test_nbdev_yml_follows_the_settings():
    quarto = pytest.importorskip('nbdev.quarto', reason='nbdev is not installed')
    from readme import cfg
    vals = {k: cfg[k] for k in ('title', 'description', 'branch', 'git_url', 'doc_host', 'doc_baseurl', 'doc_path')}
    assert (root/'nbs'/'nbdev.yml').read_text() == quarto._nbdev_yml.format(**vals)
    for o in 'nbdev.yml', 'styles.css': assert o in (root/'nbs'/'_quarto.yml').read_text() and (root/'nbs'/o).is_file()
