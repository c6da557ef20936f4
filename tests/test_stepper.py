"""The stepper in a real browser: what is shown, how it is steered, who can read it.

Needs Playwright and Chromium (`pip install playwright axe-playwright-python`, `apt-get install chromium`; CHROMIUM names another
program). Where one is missing the tests are skipped, unless BROWSER_TESTS=required: then they fail.
The numbers are judged by PyTorch's autograd on formulas written out here, so no arithmetic is shared with the figure.
"""
import re
from pathlib import Path
import pytest, torch
from conftest import missing
from backprop_nb.core.graph import neuron_graph, scalar_graph
from backprop_nb.core.stepper import stepper

base = dict(x=1.5, w=.8, b=.2, v=.6, c=-.25, t=1.)
title = 'One example, one hidden unit'
names = ['w', 'x', 'b', 'z', 'h', 'v', 'c', 'y', 't', 'L']

def write(path, body, style='background:#fff;color:#000'):
    path.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Test</title>'
                    f'<meta name="viewport" content="width=device-width,initial-scale=1">'
                    f'<body style="margin:0;{style}"><main style="max-width:46rem;margin:auto;padding:1rem"><h1>Test</h1>{body}</main>',
                    encoding='utf-8')
    return path

@pytest.fixture(scope='session')
def figure(): return stepper(neuron_graph, title=title, x=(-2, 2), w=(-2, 2), t=(-2, 2))

@pytest.fixture
def opened(browser, tmp_path):
    "A function that opens a page; at the end no request may have left it, and nothing may have been complained about"
    contexts, asked, complaints = [], [], []
    def opens(body, width=1400, style='background:#fff;color:#000', **options):
        ctx = browser.new_context(viewport=dict(width=width, height=844), **options)
        contexts.append(ctx)
        page = ctx.new_page()
        page.on('request', lambda r: asked.append(r.url))
        page.on('console', lambda m: complaints.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: complaints.append(str(e)))
        page.goto(write(tmp_path/'page.html', body, style).as_uri())
        return page
    yield opens
    for c in contexts: c.close()
    assert not complaints, complaints
    assert all(u.startswith(('file:', 'data:')) for u in asked), asked

def number(s): return None if not s else float(s.replace('−', '-'))

def seen(page, root=0):
    "What can be seen: {name: (value, gradient)}, and the local derivatives in the order of the edges"
    got = page.evaluate("""root => {
        const r = document.querySelectorAll('.bp-stepper')[root];
        const text = e => getComputedStyle(e).visibility == 'hidden' ? '' : e.textContent;
        return [[...r.querySelectorAll('svg rect.box')].map(b => [...b.parentNode.querySelectorAll('text')].map(text)),
                [...r.querySelectorAll('svg > text.b')].map(text)];
    }""", root)
    boxes = {f[0].split(' = ')[0]: (number(f[1]), number(f[2]) if len(f) > 2 else None) for f in got[0]}
    return boxes, [number(s.removeprefix('× ')) for s in got[1]]

def truth(**inputs):
    "Values, gradients and local derivatives by autograd"
    p = {k: torch.tensor(float(a), dtype=torch.float64, requires_grad=k != 't') for k,a in (base | inputs).items()}
    p['z'] = p['w']*p['x'] + p['b']
    p['h'] = torch.nn.functional.relu(p['z'])
    p['y'] = p['v']*p['h'] + p['c']
    p['L'] = torch.nn.functional.mse_loss(p['y'], p['t'])
    d = lambda a, b: torch.autograd.grad(p[a], p[b], retain_graph=True, allow_unused=True)[0].item()
    edges = ['zw', 'zx', 'zb', 'hz', 'yv', 'yh', 'yc', 'Ly']
    return ({k: (p[k].item(), None if k == 't' else d('L', k)) for k in names}, [d(a, b) for a,b in edges])

def same(a, b): return a is b is None or None not in (a, b) and abs(a - b) <= .00051 * max(1, abs(b))

def agree(page, **inputs):
    (boxes, local), (want, wloc) = seen(page), truth(**inputs)
    assert boxes.keys() == want.keys()
    for k in names: assert all(map(same, boxes[k], want[k])), (k, boxes[k], want[k], inputs)
    assert len(local) == len(wloc) and all(map(same, local, wloc)), (local, wloc, inputs)

def step(page): return int(re.search(r'step (\d+) of 13', page.locator('.where').inner_text())[1])
def slide(page, i): page.locator('input').evaluate("(e, i) => { e.value = i; e.dispatchEvent(new Event('input', {bubbles: true})) }", i)

def test_buttons_show_one_thing_after_another(opened, figure):
    page = opened(figure.html)
    want, wloc = truth()
    order = [None, *'zhyL', *'Lyhzcvbwx']
    values, grads = set('xwbvct'), set()
    for i, name in enumerate(order):
        if i: page.get_by_role('button', name='Next').click()
        if name: (grads if i > 4 else values).add(name)
        boxes, local = seen(page)
        assert step(page) == i
        for k in names:
            assert same(boxes[k][0], want[k][0] if k in values else None), (i, k, boxes[k])
            assert same(boxes[k][1], want[k][1] if k in grads else None), (i, k, boxes[k])
        for src, got, d in zip('wxbzvhcy', local, wloc): assert same(got, d if src in grads else None), (i, src)
        lit = page.locator('rect.box.on').evaluate_all("bs => bs.map(b => b.parentNode.querySelector('text').textContent[0])")
        assert lit == [name] if name else set(lit) == values
    agree(page)
    assert page.get_by_role('button', name='Next').get_attribute('aria-disabled') == 'true'
    for i in range(12, -1, -1):
        page.get_by_role('button', name='Previous').click()
        assert step(page) == i
    page.get_by_role('button', name='Previous').click(force=True)   # nothing before the start, and no error
    assert step(page) == 0

def test_keys(opened, figure):
    page = opened(figure.html)
    page.keyboard.press('Tab')
    assert page.evaluate("document.activeElement.className") == 'bp-stepper'
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == 'solid', 'the focus must be seen'
    for i in range(1, 14):
        page.keyboard.press('ArrowRight')
        assert step(page) == i
    page.keyboard.press('ArrowRight')
    agree(page)
    page.keyboard.press('ArrowLeft'); assert step(page) == 12
    page.keyboard.press('Home'); assert step(page) == 0
    page.keyboard.press('End'); assert step(page) == 13
    page.locator('input').focus()                      # here the arrows belong to the slider
    page.keyboard.press('ArrowLeft')
    assert step(page) == 13
    agree(page, x=1.4)
    assert page.locator('input').get_attribute('aria-valuetext') == 'x = 1.4'
    for name in 'Previous', 'Next', 'Reset':           # Tab reaches every control, and each one shows it
        page.get_by_role('button', name=name).focus()
        page.keyboard.press('Shift+Tab'); page.keyboard.press('Tab')
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == 'solid', name

@pytest.mark.parametrize('i', [0, 3, 15, 16, 17, 20, 35, 40])
def test_sliders(opened, figure, i):
    page = opened(figure.html)
    page.get_by_role('button', name='Next').focus()
    page.keyboard.press('End')
    at = round(-2 + .1*i, 10)
    for name in 'xwt':
        page.get_by_label('Input to change').select_option(name)
        agree(page)                                    # the input before has gone back
        slide(page, i)
        agree(page, **{name: at})
        assert number(page.locator('output').inner_text()) == at
    page.get_by_role('button', name='Reset').click()
    assert step(page) == 0 and number(page.locator('output').inner_text()) == 1.
    page.keyboard.press('End')
    agree(page)

def test_words_follow_the_slider(opened, figure):
    page = opened(figure.html)
    page.get_by_role('button', name='Next').focus()
    page.keyboard.press('End')
    told = page.locator('[aria-live=polite]')
    assert 'The gradient of x is that of z, −0.492, times 0.8: −0.394.' in told.inner_text()
    assert page.locator('.math').get_attribute('aria-hidden') == 'true'
    flat = lambda: ''.join(page.locator('.math').inner_text().split())
    assert flat() == 'x=z·∂z/∂x=z·w=(−0.492)·0.8=−0.394'
    page.get_by_role('button', name='Reset').click()
    page.keyboard.press('ArrowRight')
    assert flat() == 'z=w·x+b=0.8·1.5+0.2=1.4'
    page.keyboard.press('End')
    slide(page, 5)                                     # x = -1.5: the relu is off
    assert 'The gradient of x is that of z, 0, times 0.8: 0.' in told.inner_text()
    assert page.locator('path.edge.shut').count() == 2 # the relu, and v whose local derivative is h = 0
    assert 'that of h, −1.5, times 0: 0.' in page.locator('svg desc').text_content()

def test_sums_and_two_figures_on_a_page(opened):
    a = stepper(lambda a=1.5: scalar_graph('b = a + a | a: 1; a: 1 \n c = b*b | b: b; b: b', a=a), a=(-2, 2))
    d = stepper(lambda a=1.5: scalar_graph('q = a**2 | a: 2*a \n p = q*a | q: a; a: q \n d = p + a | p: 1; a: 1', a=a), a=(-2, 2))
    page = opened(a.html + d.html + a.html)
    for root, grad in enumerate([lambda a: 8*a, lambda a: 3*a*a + 1, lambda a: 8*a]):
        fig = page.locator('.bp-stepper').nth(root)
        fig.get_by_role('button', name='Next').focus()
        page.keyboard.press('End')
        for i in 0, 7, 29:
            fig.locator('input').evaluate("(e, i) => { e.value = i; e.dispatchEvent(new Event('input')) }", i)
            assert same(seen(page, root)[0]['a'][1], grad(-2 + .1*i)), (root, i)
        if root == 0: assert seen(page, 2)[0]['c'] == (None, None), 'the copy must not move along'

def test_notebook_way_in(opened, figure):
    "JupyterLab sets the HTML first and makes the script anew, perhaps before it is part of the page"
    page = opened('<div id="host"></div>')
    page.evaluate("""html => { const d = document.createElement('div'); d.innerHTML = html;
        const old = d.querySelector('script'), s = document.createElement('script');
        s.textContent = old.textContent; old.replaceWith(s); document.querySelector('#host').append(d) }""", figure.html)
    page.locator('.bp-stepper').focus()
    page.keyboard.press('End')
    agree(page)

def test_still_picture_without_scripts(opened, figure):
    page = opened(figure.html, java_script_enabled=False)
    img = page.locator('.bp-stepper img')
    assert img.count() == 1 and page.locator('button').count() == 0
    box = img.bounding_box()
    assert box['width'] > 300 and box['height'] > 400, box
    assert 'z is computed from w, x and b. It is 1.4.' in img.get_attribute('alt')
    assert page.evaluate("document.querySelector('img').naturalWidth") > 300, 'the picture must be a valid SVG'

@pytest.mark.parametrize('width', [390, 320])
def test_phone(opened, figure, width):
    page = opened(figure.html, width=width, has_touch=True)
    page.locator('.bp-stepper').focus()
    for i in range(14):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f'step {i} scrolls sideways'
        page.keyboard.press('ArrowRight')
    size = page.evaluate("""() => { const s = document.querySelector('svg'), k = s.getBoundingClientRect().width / s.viewBox.baseVal.width;
        return Math.min(...[...s.querySelectorAll('text')].map(t => k * parseFloat(getComputedStyle(t).fontSize))) }""")
    assert size >= 11, size
    for c in page.locator('button, select, input').all():
        assert min(c.bounding_box()['width'], c.bounding_box()['height']) >= 40, c
    scrolls = page.evaluate("(g => g.scrollWidth > g.clientWidth)(document.querySelector('.graph'))")
    assert scrolls == (width == 320) == (page.evaluate("document.querySelector('.graph').tabIndex") == 0)
    if width == 390:                                   # no text runs out of the picture or into its neighbour
        clash = page.evaluate("""() => { const r = document.querySelector('svg').getBoundingClientRect(), out = [];
            const ts = [...document.querySelectorAll('svg text')].map(t => [t.textContent, t.getBoundingClientRect()]);
            for (const [s, a] of ts) { if (a.left < r.left - 1 || a.right > r.right + 1) out.push(s);
                for (const [u, b] of ts) if (s != u && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3) out.push(s + '/' + u); }
            return out }""")
        assert not clash, clash

looks = dict(light='background:#fff;color:#000', grey='background:#f8f9fb;color:#212529', dark='background:#131416;color:#ced0d6',
             black='background:#111;color:#e0e0e0')
@pytest.mark.parametrize('look', looks)
def test_contrast_of_the_text(opened, figure, look):
    page = opened(figure.html, style=looks[look])
    page.locator('.bp-stepper').focus()
    page.keyboard.press('End')
    colours = page.evaluate("""() => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const rgb = s => { c.fillStyle = s; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3) };
        return [rgb(getComputedStyle(document.body).backgroundColor),
            [...document.querySelectorAll('.bp-stepper text, .bp-stepper tspan, .bp-stepper p, .bp-stepper label, .bp-stepper output')]
              .map(e => [e.textContent, rgb(getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color'])])] }""")
    def light(rgb): return sum(w*(v/12.92 if v <= .04045 else ((v + .055)/1.055)**2.4) for w,v in zip((.2126, .7152, .0722), (x/255 for x in rgb)))
    assert len(colours[1]) > 40
    for text, c in colours[1]:
        hi, lo = sorted((light(c), light(colours[0])), reverse=True)
        assert (hi + .05)/(lo + .05) >= 4.5, (look, text, c)

@pytest.mark.parametrize('look', ['light', 'dark'])
@pytest.mark.parametrize('width', [1400, 390])
def test_accessibility(opened, figure, look, width):
    try: from axe_playwright_python.sync_playwright import Axe
    except ImportError: missing('the Python package axe-playwright-python')
    page = opened(figure.html, width=width, style=looks[look])
    for key in 'Home', 'ArrowRight', 'End':
        page.locator('.bp-stepper').focus()
        page.keyboard.press(key)
        bad = [(v['id'], [n['html'][:120] for n in v['nodes']]) for v in Axe().run(page).response['violations']]
        assert not bad, bad

def test_calm_where_motion_is_not_wanted(opened, figure):
    page = opened(figure.html, reduced_motion='reduce')
    assert page.evaluate("[...document.querySelectorAll('.bp-stepper *')].every(e => getComputedStyle(e).transitionDuration == '0s')")
