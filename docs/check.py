"""What a finished site must satisfy, from its files alone: `faults(folder)` yields one sentence for each thing that is wrong."""
import os, re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Bytes, uncompressed: one page with all that it loads, and everything. Of KaTeX's fonts a page loads a few only; the browser test counts those.
page_limit,site_limit = 1_000_000,25_000_000
void = {'img', 'script', 'link', 'source', 'iframe', 'video', 'audio', 'object', 'embed', 'use'}

class Page(HTMLParser):
    "The ids of a page, what it links to, what it loads, and its faults of its own"
    def __init__(self, text):
        super().__init__()
        self.ids,self.links,self.loads,self.faults = set(),[],[],[]
        self.feed(text)
        if 'katex-error' in text: self.faults.append('has a formula that KaTeX does not understand')

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        if d.get('id'): self.ids.add(d['id'])
        if tag == 'a' and d.get('name'): self.ids.add(d['name'])
        if tag == 'a' and 'href' in d: self.links.append(d['href'])
        if tag == 'img' and not d.get('alt'): self.faults.append(f"has an image without alternative text: {d.get('src', '')[:60]}")
        if tag == 'svg' and d.get('role') == 'img' and not d.get('aria-label'): self.faults.append('has a figure without alternative text')
        if tag in void:
            rel = d.get('rel', '')
            key = d.get('src') or d.get('data') or (d.get('href') if tag != 'link' or 'stylesheet' in rel or 'icon' in rel else None)
            if key: self.loads.append(key)

    handle_startendtag = handle_starttag

def outside(url): return bool(urlsplit(url).scheme or urlsplit(url).netloc)

def needs(path):
    "What a style sheet loads"
    for u in re.findall(r'url\(\s*["\']?([^"\')]+)', path.read_text(encoding='utf-8', errors='replace')):
        if not u.startswith(('data:', '#')): yield u

def resolve(base, url):
    u = unquote(urlsplit(url).path)
    return Path(os.path.normpath(base.parent/u)) if u else base

def faults(folder):
    folder = Path(folder)
    pages = {p: Page(p.read_text(encoding='utf-8')) for p in folder.rglob('*.html')}
    if not pages: yield f'{folder} has no page'
    css = {p: list(needs(p)) for p in folder.rglob('*.css')}
    for p,page in sorted(pages.items()):
        name = p.relative_to(folder)
        yield from (f'{name} {o}' for o in page.faults)
        for url in page.links:
            if outside(url): continue
            to,frag = resolve(p, url),unquote(urlsplit(url).fragment)
            if to.is_dir(): to /= 'index.html'
            if not to.is_file(): yield f'{name} links to {url}, which is not there'
            elif frag and to in pages and frag not in pages[to].ids: yield f'{name} links to {url}, but there is no such place on that page'
        weight = p.stat().st_size
        for url in set(page.loads):
            if url.startswith(('data:', '#')): continue
            if outside(url): yield f'{name} loads {url}: nothing may come from elsewhere'
            elif not (to := resolve(p, url)).is_file(): yield f'{name} loads {url}, which is not there'
            else: weight += to.stat().st_size + sum(f.stat().st_size for u in css.get(to, []) if 'katex' not in to.name and (f := resolve(to, u)).is_file())
        if weight > page_limit: yield f'{name} weighs {weight:,} bytes with what it loads; {page_limit:,} are allowed'
    for p,urls in css.items():
        for url in urls:
            if outside(url): yield f'{p.relative_to(folder)} loads {url}: nothing may come from elsewhere'
            elif not resolve(p, url).is_file(): yield f'{p.relative_to(folder)} loads {url}, which is not there'
    size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
    if size > site_limit: yield f'the site weighs {size:,} bytes; {site_limit:,} are allowed'
