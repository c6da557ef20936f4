"""The notebooks, rewritten as MyST-NB reads them. Pure functions on text and JSON: nothing here is run, and Sphinx is not needed.

What nbdev says in `#|` lines at the top of a code cell becomes what MyST-NB calls it; what the book says by convention
(a title, a promise, `07_training` for a chapter, `core/guards` for a room, \\tag{1} for an equation) becomes headings, links
and anchors.
"""
import json, posixpath, re
from dataclasses import dataclass, field
from pathlib import Path
from readme import directives, fill   # tools/readme.py

known = {'default_exp', 'export', 'exports', 'exporti', 'hide', 'echo', 'output', 'include', 'eval', 'slow', 'code-fold',
         'code-summary', 'fig-cap', 'fig-alt', 'label'}
tags = {('echo','false'): 'remove-input', ('output','false'): 'remove-output', ('code-fold','true'): 'hide-input'}

@dataclass
class Chapter:
    "One notebook, and what other pages say about it"
    name: str           # such as 01_foundations or core/guards
    cells: list
    title: str = ''
    promise: str = ''
    module: str = None  # such as foundations or core.guards
    sections: list = field(default_factory=list)
    @property
    def number(self): return m[0] if (m := re.match(r'\d+[a-z]?(?=_)', self.name)) else ''
    @property
    def room(self): return posixpath.dirname(self.name)
    @property
    def full_title(self): return f'{self.number} {self.title}'.strip()

def prose(src):
    "`src` in pieces, [(is_prose, text)]: what stands in code or in formulas is not prose"
    parts = re.split(r'(^(?P<f>```+|~~~+).*?^(?P=f)|\$\$.*?\$\$|(?<!`)(?P<t>`+)(?!`).*?(?<!`)(?P=t)(?!`)|\$[^$\n]+\$)', src, flags=re.M|re.S)
    parts = [o for i,o in enumerate(parts) if i % 4 < 2]   # without the two named groups
    return [(i % 2 == 0, o) for i,o in enumerate(parts)]

def read(path, nbs=None):
    "The chapter in the notebook at `path`; its name is its place in the folder `nbs`"
    path = Path(path)
    cells = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    for c in cells: c['source'] = ''.join(c['source'])
    chap = Chapter(path.relative_to(nbs or path.parent).with_suffix('').as_posix(), cells)
    text = '\n'.join(c['source'] for c in cells if c['cell_type'] == 'markdown')
    chap.title = re.search(r'^# (.+)$', text, re.M)[1]
    chap.promise = m[1] if (m := re.search(r'^> (?!\[!)(.+)$', text, re.M)) else ''
    chap.sections = re.findall(r'^## (.+)$', text, re.M)
    for c in cells:
        if c['cell_type'] == 'code' and (m := re.match(r'#\|[ \t]*default_exp[ \t]+([\w.]+)', c['source'])): chap.module = m[1]
    return chap

captions = {'': 'The book', 'check': 'The checker'}   # whatever else there is: how it is made
def caption(chap): return captions.get(chap.room, 'How it is made') if chap.room or chap.number else 'How it is made'

def book(nbs):
    """{name: Chapter} of the notebooks in the folder `nbs` but its first page, in the order of the site

    First the chapters; then the checker, and how it is made: what has no number, `core`, and the rooms that have no page `index` of
    their own, such as `commands`. In a room the page `index` comes first, and then what it links, in that order.
    """
    paths = [p for p in sorted(nbs.rglob('*.ipynb')) if not any(o[0] in '._' for o in p.relative_to(nbs).parts) and p != nbs/'index.ipynb']
    found = {c.name: c for c in (read(p, nbs) for p in paths)}
    tops,rooms = [c for c in found.values() if not c.room],dict.fromkeys(c.room for c in found.values() if c.room)
    bare = [r for r in rooms if f'{r}/index' not in found]
    out = [c for c in tops if c.number] + room(found, 'check', [])*('check' in rooms) + [c for c in tops if not c.number]
    for r in sorted(rooms, key=lambda r: r != 'core'):
        if r not in bare and r != 'check': out += room(found, r, bare if r == 'core' else [])
    if lost := [c.name for c in found.values() if c not in out]: raise ValueError(f"no page index.ipynb leads to {', '.join(lost)}")
    return {c.name: c for c in out}

def room(found, name, bare):
    "The page of a room, and the notebooks in it and in the rooms `bare`, in their order"
    if not (first := found.get(f'{name}/index')): return []
    text = '\n'.join(c['source'] for c in first.cells if c['cell_type'] == 'markdown')
    linked = [posixpath.normpath(f'{name}/{m[2]}') if m[2] else m[1] for m in re.finditer(r'`(\w+/\w+)`|\]\(([\w./]+)\.ipynb', text)]
    others = [c for c in found.values() if c.room in (name, *bare) and c is not first]
    if lost := [c.name for c in others if c.name not in linked]: raise ValueError(f"{first.name} does not link {', '.join(lost)}")
    return [first, *sorted(others, key=lambda c: linked.index(c.name))]

def way(here, to):
    "The link from the page `here` to the file `to`"
    return posixpath.relpath(to, posixpath.dirname(here) or '.')

def to_link(src, chapters, here=''):
    "`07_training` and `core/guards` in prose become links to the notebooks of these names, from the page `here`; rooms keep the name"
    def link(m):
        if not (to := chapters.get(m[1])): return m[0]
        return f"[{m[0] if to.room and not to.name.endswith('/index') else to.full_title}]({way(here, to.name + '.ipynb')})"
    return re.sub(r'(?<![\[`])`(\d\d[a-z]?_\w+|\w+/\w+)`(?![`\]])', link, src)

def with_equations(src, numbers):
    "Tagged equations get an anchor, and (1) in prose becomes a link where the chapter has a \\tag{1}"
    def piece(is_prose, s):
        if is_prose: return re.sub(r'(?<![\w\]\[(])\((\d+)\)', lambda m: f'[({m[1]})](#eq-{m[1]})' if m[1] in numbers else m[0], s)
        return f'(eq-{m[1]})=\n{s}' if s.startswith('$$') and (m := re.search(r'\\tag\{(\d+)\}', s)) else s
    return ''.join(piece(*o) for o in prose(src))

def heading(src, chap, links):
    "The number or the room before the title; the promise and the links to the notebook below it"
    place = chap.number or (chap.name if chap.room and not chap.name.endswith('/index') else '')
    num = f'[{place}]{{.chapter-number}} ' if place else ''
    src = re.sub(r'^# ', lambda _: f'# {num}', src, count=1, flags=re.M)
    return re.sub(r'^> (?!\[!).+$', lambda m: f'{{.promise}}\n{m[0]}' + (f'\n\n{{.launch}}\n{links}' if links else ''), src, count=1, flags=re.M)

def inline_svg(svg, alt, prefix):
    """An SVG as part of the page: its greys follow the theme, its ids stay its own, and it is an image with a text

    A hundredth of a point is precise enough, and ids that nothing refers to are left out: that saves a third of the weight.
    """
    svg = re.sub(r'^.*?(?=<svg)', '', svg, flags=re.S)
    svg = re.sub(r'<metadata>.*?</metadata>|<!--.*?-->|<title>.*?</title>', '', svg, flags=re.S)
    used = {o: f'{prefix}-{i}' for i,o in enumerate(dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', svg)))}
    svg = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{used[m[1]]}"' if m[1] in used else '', svg)
    svg = re.sub(r'(?:xlink:)?href="#([^"]+)"', lambda m: f'href="#{used[m[1]]}"', svg)
    svg = re.sub(r'url\(#([^)]+)\)', lambda m: f'url(#{used[m[1]]})', svg).replace('#7a7a7a', 'currentColor')
    svg = re.sub(r'(?<=style=")[^"]*', lambda m: re.sub(r'([:;]) +', r'\1', m[0]), svg)
    svg = re.sub(r'(?<=\s)(?:d|x|y)="[^"]*"', lambda m: re.sub(r'-?\d+\.\d{3,}', lambda n: f'{float(n[0]):.2f}'.rstrip('0').rstrip('.'), m[0]), svg)
    svg = re.sub(r'\s*\n\s*', ' ', svg).replace('> <', '><')
    alt = alt.replace('&', '&amp;').replace('"', '&quot;').replace('<', '&lt;')
    head,rest = svg.split('>', 1)
    head = re.sub(r'\s(role|aria-label(?:ledby)?|aria-describedby)="[^"]*"', '', head)
    return f'<div class="figure-svg">{head} role="img" aria-label="{alt}">{rest}</div>'

def outputs(cell, alt, prefix):
    "The outputs of `cell`; SVGs become part of the page"
    for i,o in enumerate(cell['outputs']):
        data = o.get('data', {})
        if 'text/html' in data or 'image/svg+xml' not in data: continue
        data['text/html'] = inline_svg(''.join(data.pop('image/svg+xml')), alt, f'{prefix}-{i}')
    return cell['outputs']

def code_cell(cell, chap, exported):
    "The cells that stand for one code cell of the notebook: none, itself, or a line on what it exports and itself"
    d,src = directives(cell['source'])
    if unknown := d.keys() - known: raise ValueError(f'{chap.name}: the site does not know #| {", ".join(sorted(unknown))}')
    if d.keys() & {'hide', 'default_exp'} or d.get('include') == 'false' or not src.strip(): return []
    alt = d.get('fig-alt', '')
    if any('image' in k for o in cell['outputs'] for k in o.get('data', {})) and not alt:
        if not any('text/html' in o.get('data', {}) for o in cell['outputs']):
            raise ValueError(f'{chap.name}: the figure of the cell {src.splitlines()[0]!r} has no #| fig-alt')
    meta = cell['metadata'] = {'tags': [tag for (k,v),tag in tags.items() if d.get(k) == v], 'mystnb': {}}
    if 'fig-cap' in d: meta['mystnb']['figure'] = {'caption': d['fig-cap']} | ({'name': d['label']} if 'label' in d else {})
    if alt: meta['mystnb']['image'] = {'alt': alt}
    if 'code-summary' in d: meta['mystnb']['code_prompt_show'] = d['code-summary']
    cell |= {'source': src, 'outputs': outputs(cell, alt, f'f{cell["id"]}')}
    if not d.keys() & {'export', 'exports'}: return [cell]
    meta['tags'].append('exported')
    names = exported.get(cell['id'], [])
    module = d.get('export') or d.get('exports') or chap.module
    to = f'{{py:obj}}`{module} <{names[0]}>`' if names else f"[`{module}`]({way(chap.name, f'api/{module}.md')})"
    return [markdown(f"(cell-{cell['id']})=\n{{.exported-to}}\nexported to {to}", f"to-{cell['id']}"), cell]

def markdown(src, id): return {'cell_type': 'markdown', 'id': id, 'metadata': {}, 'source': src}

def staged(chap, chapters, exported, links='', names=None):
    """The notebook of `chap` for MyST-NB

    `chapters`: {name: Chapter}; `exported`: {cell id: [module.name]}; `links`: a line below the promise; `names`: {placeholder: value}
    """
    md = [c['source'] for c in chap.cells if c['cell_type'] == 'markdown']
    numbers = set(re.findall(r'\\tag\{(\d+)\}', '\n'.join(md)))
    cells,first = [],True
    for c in chap.cells:
        if c['cell_type'] == 'code': cells += code_cell(c, chap, exported)
        elif c['cell_type'] == 'markdown':
            src = with_equations(to_link(fill(c['source'], names or {}), chapters, chap.name), numbers)
            if first and src.startswith('# '): src,first = heading(src, chap, links),False
            cells.append(markdown(src, c['id']))
    meta = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}, 'language_info': {'name': 'python'}}
    return {'cells': cells, 'metadata': meta, 'nbformat': 4, 'nbformat_minor': 5}

def contents(chapters, has_api):
    "The page of contents: of each chapter its title, its promise and its sections, as the notebooks have them; of a room a list"
    out,last = ['---\nhide-toc: true\n---\n# Contents\n'],None
    for c in chapters:
        if caption(c) == 'The book':
            parts = [o for o in c.sections if o not in ('What we simplified', 'Your turn')]
            if has_api(c.module): parts.append(f'module [`{c.module}`](api/{c.module}.md)')
            out += [f'## [**{c.number}** {c.title}]({c.name}.ipynb)\n', f'{c.promise}\n']
            if parts: out.append('{.sections}\n' + ' · '.join(parts) + '\n')
        else:
            if caption(c) != last: out.append(f'## {caption(c)}\n')
            if caption(c) != last or c.name.endswith('/index'): out.append('\n{.names}')
            out.append(f'- [{c.title}]({c.name}.ipynb) {c.promise}')
            last = caption(c)
    return '\n'.join(out) + '\n'
