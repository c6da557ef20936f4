"""Make README.md from nbs/index.ipynb, or check that it is in sync.

    python tools/readme.py            write README.md
    python tools/readme.py --check    exit with 1 where README.md is not what would be written

Cells marked `#| hide` are left out, of those marked `#| echo: false` only the output is kept. {git_url}, {repo} and {nbs} are
filled in from settings.ini; links are absolute, so that they also work where the README is shown without the repository.
"""
import json, sys
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
names = dict(git_url=cfg['git_url'], repo=cfg['repo'], nbs=f"{cfg['git_url']}/blob/{cfg['branch']}/{cfg['nbs_path']}")

def fill(src, names=names):
    "`src` with its {placeholders} filled in; the site does the same with other `names`"
    for k, v in names.items(): src = src.replace('{' + k + '}', v)
    return src

def output(o):
    "The text of one output as markdown"
    data = o.get('data', {})
    text = ''.join(o.get('text') or data.get('text/markdown') or data.get('text/plain') or '').rstrip()
    return text if 'text/markdown' in data else f'```text\n{text}\n```'

def parts(cell):
    "What `cell` leaves in the README"
    src = ''.join(cell['source'])
    if cell['cell_type'] == 'markdown': return [fill(src)]
    flags = [l.replace(' ', '') for l in src.splitlines() if l.startswith('#|')]
    if '#|hide' in flags: return []
    code = '\n'.join(l for l in src.splitlines() if not l.startswith('#|'))
    shown = [] if '#|echo:false' in flags else [f'```python\n{code}\n```']
    return shown + [output(o) for o in cell['outputs'] if not pictures(o)]

def pictures(o):
    "Is `o` a picture? The site shows them; a README that stands alone has no file to show"
    return any(k.startswith('image/') for k in o.get('data', {}))

def main():
    note = '<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook. -->'
    cells = json.loads((root/'nbs'/cfg['readme_nb']).read_text(encoding='utf-8'))['cells']
    text = '\n\n'.join([note] + [p for c in cells for p in parts(c)]) + '\n'
    readme = root/'README.md'
    if '--check' not in sys.argv: readme.write_text(text, encoding='utf-8')
    elif readme.read_text(encoding='utf-8') != text: sys.exit('README.md is not in sync with nbs/index.ipynb: run python tools/readme.py')

if __name__ == '__main__': main()
