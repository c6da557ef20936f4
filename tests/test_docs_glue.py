"What docs/ makes of notebooks and modules, on small ones written here; neither Sphinx nor torch is needed"
import ast, importlib, json, sys
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

def test_every_exported_name_has_an_entry():
    "Against the package itself, by another way than api.py's: every name in every `__all__`, every public @patch method with a docstring"
    modules = api.read(root/'backprop_nb')
    have = {e.full for m in modules.values() for e in m.entries}
    for p in (root/'backprop_nb').glob('[!_]*.py'):
        ns = {}
        tree = ast.parse(p.read_text(encoding='utf-8'))
        for o in tree.body:
            if isinstance(o, ast.Assign) and ast.unparse(o.targets[0]) == '__all__': exec(compile(ast.Module([o], []), '', 'exec'), ns)
        ours = {a.name for o in tree.body if isinstance(o, ast.ImportFrom) and o.level for a in o.names}   # they have their entries there
        want = {f'{p.stem}.{o}' for o in ns.get('__all__', []) if o not in ours}
        for o in tree.body:
            if isinstance(o, ast.FunctionDef) and 'patch' in map(ast.unparse, o.decorator_list) and ast.get_docstring(o) and o.name[0] != '_':
                if (cls := ast.unparse(o.args.args[0].annotation))[0] != '_': want.add(f'{p.stem}.{cls}.{o.name}')
        assert want <= have, want - have

def test_nothing_is_empty(): assert not list(api.missing(api.read(root/'backprop_nb')))

def test_names_lead_to_the_right_chapter():
    pytest.importorskip('sphinx', reason='docs/requirements.txt is not installed')
    from links import targets
    order,objects = ['data', 'modules', 'losses'],{'data.tanh': 1, 'modules.Linear': 2, 'losses.tanh': 3, 'losses.nll': 4, 'modules.Linear.bwd': 5}
    t = targets(objects, order, 'modules')
    assert (t.get('tanh'), t.get('Linear'), t.get('nll'), t.get('losses.nll'), t.get('backprop_nb.losses.nll')) == (1, 2, None, 4, 4)
    assert t.get('Linear.bwd') == 5 and t.get('bwd') is None and targets(objects, order, 'losses')['tanh'] == 3
    assert targets(objects, order, None)['tanh'] is None   # elsewhere, of two things one cannot know which is meant

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
