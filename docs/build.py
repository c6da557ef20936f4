"""Build the site: python docs/build.py [OUT]

The notebooks are rewritten for MyST-NB (chapters.py), the reference is read from the package's text (api.py), Sphinx renders both
with warnings as errors, and the result is checked (check.py). OUT is _docs if not given. Nothing is written elsewhere.
"""
import argparse, json, os, re, shutil, signal, subprocess, sys, tempfile, time
from contextlib import suppress
from pathlib import Path

here = Path(__file__).resolve().parent
root = here.parent
sys.path[:0] = [str(here), str(root/'tools')]
import api, chapters, check
from readme import cfg, names

blob = f"{cfg['git_url']}/blob/{cfg['branch']}"

def launch(name):
    "The links to run a chapter and to see its source"
    path = f"{cfg['branch']}/{cfg['nbs_path']}/{name}.ipynb"
    colab = f"https://colab.research.google.com/github/{cfg['user']}/{cfg['repo']}/blob/{path}"
    return f"[Open in Colab]({colab}) · [Notebook on GitHub]({cfg['git_url']}/blob/{path})"

def toc(entries, caption=''):
    "A branch of the sidebar: documents, or Chapters by their titles"
    lines = [o if isinstance(o, str) else f"{o.full_title.replace('`', '')} </{o.name}>" for o in entries]
    head = [':hidden:', *[f':caption: {caption}']*bool(caption)]
    return chapters.markdown('\n'.join(['```{toctree}', *head, *lines, '```']), f"toc-{caption.replace(' ', '-').lower() or 'more'}")

def stage(src, nbs=root/cfg['nbs_path'], package=root/cfg['lib_path']):
    "Write into the folder `src` what Sphinx reads"
    book = chapters.book(nbs)
    modules = api.read(package)
    api.inherit(modules)
    born = {m: [c for c in book.values() if c.module == m] for m in dict.fromkeys(c.module for c in book.values()) if m in modules}
    if unborn := modules.keys() - born: raise ValueError(f"no chapter exports to {', '.join(sorted(unborn))}: run nbdev_export")
    exported = {}
    for m in modules.values():
        for e in m.entries: exported.setdefault(e.cell, []).append(e.full)
    part = {}   # the parts of the sidebar, and below which page the notebooks of a room stand
    for c in book.values(): part.setdefault(chapters.caption(c), []).append(c)
    made = part.get('How it is made', [])
    for c in book.values():
        nb = chapters.staged(c, book, exported, launch(c.name))
        if c in made and c.name.endswith('/index'): nb['cells'].append(toc(below(c, made)))
        (src/c.name).parent.mkdir(exist_ok=True)
        (src/f'{c.name}.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    if made: part['How it is made'] = [c for c in made if not c.room or c.name.endswith('/index')]
    home = chapters.staged(chapters.read(nbs/cfg['readme_nb']), book, exported, names=names | {'nbs': '.'})
    part['The book'] = ['contents', *part.get('The book', [])]
    home['cells'] += [*(toc(o, name) for name,o in part.items()), toc(['All names <api/index>'], 'Reference')]
    (src/'index.ipynb').write_text(json.dumps(home), encoding='utf-8')
    (src/'contents.md').write_text(chapters.contents(book.values(), lambda m: m in born), encoding='utf-8')
    (src/'api').mkdir()
    for name,chaps in born.items():
        source = f"{blob}/{cfg['lib_path']}/{name.replace('.', '/')}.py"
        (src/'api'/f'{name}.md').write_text(api.page(modules[name], chaps, book, source, modules), encoding='utf-8')
    parts = {}
    for name,chaps in born.items(): parts.setdefault(chapters.caption(chaps[0]), []).append(modules[name])
    (src/'api'/'index.md').write_text(api.index(parts, cfg['lib_name'], modules), encoding='utf-8')
    pages = {c.name: c.module for c in book.values() if c.module in born}
    (src/'book.json').write_text(json.dumps(dict(pages=pages, order=reading(pages.values()))), encoding='utf-8')   # for links.py
    return modules

def below(index, some):
    "Of the Chapters `some`, those between the page `index` of a room and the next one"
    rest = some[some.index(index) + 1:]
    return rest[:next((i for i,o in enumerate(rest) if o.name.endswith('/index')), len(rest))]

def reading(modules):
    "The order in which a reader of the chapters meets the modules: the rooms beneath first, the checker at its front door"
    order = list(dict.fromkeys(modules))
    rooms = {r: [m for m in order if m.startswith(f'{r}.')] for r in ('core', 'check', 'commands')}
    flat = [m for m in order if m not in sum(rooms.values(), [])]
    at = flat.index('gradcheck') if 'gradcheck' in flat else len(flat)
    return rooms['core'] + flat[:at] + rooms['check'] + flat[at:] + rooms['commands']

def sphinx(src, out, doctrees):
    "Render; in a process group of its own, so that KaTeX's server, which outlives a build that fails, ends with it"
    cmd = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-c', str(here), '-d', str(doctrees), str(src), str(out)]
    with subprocess.Popen(cmd, start_new_session=True) as p:
        try: return p.wait()
        finally:
            with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGTERM)

def finish(html):
    """What Sphinx leaves to be done: headings in the sidebar have a level; names and brackets, which have no colour, need no mark-up;
    formulas are read aloud from their MathML, which need not hold their TeX as well"""
    html = re.sub(r'<annotation encoding="application/x-tex">.*?</annotation>', '', html, flags=re.S)
    html = html.replace('class="caption" role="heading">', 'class="caption" role="heading" aria-level="2">')
    return re.sub(r'<span class="(?:n|nb|nn|o|p|w)">([^<]*)</span>', r'\1', html)

def build(out):
    "Build and check the site in the folder `out`; returns the number of faults"
    start = time.time()
    with tempfile.TemporaryDirectory() as tmp:
        src,new = Path(tmp)/'src',Path(tmp)/'site'
        src.mkdir()
        modules = stage(src)
        if bad := sphinx(src, new, Path(tmp)/'doctrees'): return bad
        for p in new.rglob('*.html'): p.write_text(finish(p.read_text(encoding='utf-8')), encoding='utf-8')
        for o in '.buildinfo', 'objects.inv': (new/o).unlink(missing_ok=True)
        wrong = [*api.missing(modules), *check.faults(new)]
        for o in wrong: print('docs:', o, file=sys.stderr)
        if out.exists(): shutil.rmtree(out)
        shutil.copytree(new, out)
    size = sum(p.stat().st_size for p in out.rglob('*') if p.is_file())
    print(f'{out}: {len(list(out.rglob("*.html")))} pages, {size/1e6:.1f} MB, {time.time() - start:.1f} s' + (f', {len(wrong)} faults' if wrong else ''))
    return len(wrong)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('out', nargs='?', type=Path, default=root/cfg['doc_path'], help='the folder of the site, replaced (default: _docs)')
    try: sys.exit(bool(build(ap.parse_args().out.resolve())))
    except ValueError as e: sys.exit(f'docs: {e}')

if __name__ == '__main__': main()
