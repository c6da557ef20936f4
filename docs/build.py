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

def toc(caption, entries):
    body = '\n'.join(entries)
    return chapters.markdown(f'```{{toctree}}\n:hidden:\n:caption: {caption}\n{body}\n```', f'toc-{caption.split()[-1].lower()}')

def stage(src, nbs=root/cfg['nbs_path'], package=root/cfg['lib_path']):
    "Write into the folder `src` what Sphinx reads"
    book = {p.stem: chapters.read(p) for p in sorted(nbs.glob('[0-9]*.ipynb'))}
    modules = api.read(package)
    api.inherit(modules)
    born = {m: [c for c in book.values() if c.module == m] for m in dict.fromkeys(c.module for c in book.values()) if m in modules}
    if unborn := modules.keys() - born: raise ValueError(f"no chapter exports to {', '.join(sorted(unborn))}: run nbdev_export")
    exported = {}
    for m in modules.values():
        for e in m.entries: exported.setdefault(e.cell, []).append(e.full)
    for c in book.values():
        nb = chapters.staged(c, book, exported, launch(c.name))
        (src/f'{c.name}.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    home = chapters.staged(chapters.read(nbs/cfg['readme_nb']), book, exported, names=names | {'nbs': '.'})
    refs = [f'api/{m}' for m in born]
    home['cells'] += [toc('The book', ['contents', *(f"{c.full_title.replace('`', '')} <{c.name}>" for c in book.values())]),
                      toc('Reference', ['All names <api/index>', *refs])]
    (src/'index.ipynb').write_text(json.dumps(home), encoding='utf-8')
    (src/'contents.md').write_text(chapters.contents(book.values(), lambda m: m in born), encoding='utf-8')
    (src/'api').mkdir()
    for name,chaps in born.items():
        source = f"{blob}/{cfg['lib_path']}/{name}.py"
        (src/'api'/f'{name}.md').write_text(api.page(modules[name], chaps, book, source), encoding='utf-8')
    (src/'api'/'index.md').write_text(api.index([modules[o] for o in born], cfg['lib_name']), encoding='utf-8')
    (src/'book.json').write_text(json.dumps({c.name: c.module for c in book.values() if c.module in born}), encoding='utf-8')   # for links.py
    return modules

def sphinx(src, out, doctrees):
    "Render; in a process group of its own, so that KaTeX's server, which outlives a build that fails, ends with it"
    cmd = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-c', str(here), '-d', str(doctrees), str(src), str(out)]
    with subprocess.Popen(cmd, start_new_session=True) as p:
        try: return p.wait()
        finally:
            with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGTERM)

def finish(html):
    "What Sphinx leaves to be done: headings in the sidebar have a level; names and brackets, which have no colour, need no mark-up"
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
