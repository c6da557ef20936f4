"""Make README.md from nbs/index.ipynb, or check that it is in sync.

    python tools/readme.py            write README.md, and its pictures into pictures/
    python tools/readme.py --check    exit with 1 where they are not what would be written

Cells marked `#| hide` are left out, of those marked `#| echo: false` only the output is kept. A picture is named after the
`#| label: fig-...` of its cell. {git_url}, {repo} and {nbs} are filled in from settings.ini, and `07_training` and `core/guards`
become links to these notebooks; links are absolute, so that they also work where the README is shown without the repository.
"""
import json, re, sys
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
raw = f"{cfg['git_url']}/raw/{cfg['branch']}/pictures"
names = dict(git_url=cfg['git_url'], repo=cfg['repo'], nbs=f"{cfg['git_url']}/blob/{cfg['branch']}/{cfg['nbs_path']}")

def fill(src, names=names):
    "`src` with its {placeholders} filled in; the site does the same with other `names`"
    for k, v in names.items(): src = src.replace('{' + k + '}', v)
    return src

def linked(src):
    "`src` with links to the notebooks that it names in backticks, as the site has them"
    def link(m): return f"[{m[0]}]({names['nbs']}/{m[1]}.ipynb)" if (root/cfg['nbs_path']/f'{m[1]}.ipynb').is_file() else m[0]
    return re.sub(r'(?<![\[`])`(\d\d[a-z]?_\w+|\w+/\w+)`(?![`\]])', link, src)

def directives(src):
    "Split the leading `#|` lines off `src`: ({name: value}, rest)"
    found,lines = {},src.splitlines()
    while lines and (m := re.match(r'\s*#\|\s*([\w-]+)\s*:?\s*(.*?)\s*$', lines[0])):
        value = m[2]
        found[m[1]] = json.loads(value) if len(value) > 1 and value[0] == value[-1] == '"' else value
        lines.pop(0)
    return found,'\n'.join(lines)

def output(o):
    "The text of one output as markdown"
    data = o.get('data', {})
    text = ''.join(o.get('text') or data.get('text/markdown') or data.get('text/plain') or '').rstrip()
    return text if 'text/markdown' in data else f'```text\n{text}\n```'

def parts(cell, pictures):
    "What `cell` leaves in the README; its pictures, by name, are added to `pictures`"
    src = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown': return [linked(fill(src))]
    options, code = directives(src)
    if 'hide' in options: return []
    found = [] if options.get('echo') == 'false' else [f'```python\n{code}\n```']
    for o in cell['outputs']:
        svg = ''.join(o.get('data', {}).get('image/svg+xml', ''))
        if not svg:
            found.append(output(o))
            continue
        name = options['label'].removeprefix('fig-') + '.svg'
        pictures[name] = svg
        found.append(f"![{options['fig-alt']}]({raw}/{name})")
    return found

def main():
    note = '<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook. -->'
    cells = json.loads((root/'nbs'/cfg['readme_nb']).read_text(encoding='utf-8'))['cells']
    pictures = {}
    text = '\n\n'.join([note] + [p for c in cells for p in parts(c, pictures)]) + '\n'
    files = {root/'README.md': text} | {root/'pictures'/name: svg for name, svg in pictures.items()}
    there = {root/'README.md', *(root/'pictures').glob('*')}
    if '--check' in sys.argv:
        bad = [p.name for p in there | set(files) if p not in files or not p.exists() or p.read_text(encoding='utf-8') != files[p]]
        if bad: sys.exit(f"{', '.join(sorted(bad))}: not in sync with nbs/index.ipynb: run python tools/readme.py")
        return
    for p in there - set(files): p.unlink()
    (root/'pictures').mkdir(exist_ok=True)
    for p, t in files.items(): p.write_text(t, encoding='utf-8')

if __name__ == '__main__': main()
