"Sphinx extension: names of the package that stand in code type in the prose lead to their entries in the reference"
import json
from pathlib import Path
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

skip = nodes.reference,nodes.title,addnodes.pending_xref,addnodes.desc_signature,nodes.term

def targets(objects, modules, here):
    """{text: object} of the names that a page may mean: `lin`, `lin()`, `foundations.lin`, `backprop_nb.foundations.lin`

    In a chapter (`here`, its module), a bare name means what this chapter, an earlier one or a room beneath has made, in the order
    of `modules`; a word that happens to be the name of something to come is left alone. The page of a room may mean all there is.
    A name that stands for two things is left alone, too, unless one is of this module.
    """
    seen,order = {},{m: i for i,m in enumerate(modules)}
    for full,o in objects.items():
        module = max((m for m in modules if full.startswith(f'{m}.')), key=len, default=full.partition('.')[0])
        name = full[len(module) + 1:]
        for text in {full, f'backprop_nb.{full}', f"{module.rpartition('.')[2]}.{name}"}: seen.setdefault(text, []).append((module, o))
        if '.' not in name or name.split('.')[0][0].isupper():
            if here is None or '.' in here or order.get(module, 0) <= order[here]: seen.setdefault(name, []).append((module, o))
    return {k: v[0][1] if len(v) == 1 else next((o for m,o in v if m == here), None) for k,v in seen.items()}

class Linkify(SphinxPostTransform):
    default_priority = 5
    formats = 'html',

    def run(self, **kw):
        doc,book = self.env.docname,self.config.book
        table = targets(self.env.domains['py'].objects, book['order'], book['pages'].get(doc))
        for n in list(self.document.findall(nodes.literal)):
            if any(isinstance(o, skip) for o in above(n)) or not (o := table.get(n.astext().removesuffix('()'))): continue
            uri = '' if o.docname == doc else self.app.builder.get_relative_uri(doc, o.docname)
            ref = nodes.reference('', '', internal=True, refuri=f'{uri}#{o.node_id}', classes=['to-name'])
            n.replace_self(ref)
            ref.append(n)

def above(node):
    while node := node.parent: yield node

def read_book(app, config): config.book = json.loads((Path(app.srcdir)/'book.json').read_text(encoding='utf-8'))

def setup(app):
    app.add_config_value('book', {}, 'env')   # pages: {notebook: module}; order: the modules as a reader meets them
    app.connect('config-inited', read_book)
    app.add_post_transform(Linkify)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
