"""The reference pages, read from the package's text: nothing is imported, so the site needs neither torch nor the package.

nbdev writes `__all__`, the notebook and the cell of each definition into the modules; comments after parameters explain them
(docments), and `@shapes('x: n d, ...')` says which tensors a function takes. All of that is shown; nothing is typed twice.
"""
import ast, io, re, tokenize
from dataclasses import dataclass, field
from pathlib import Path

@dataclass
class Entry:
    "One exported name, or a method of one"
    module: str
    name: str            # such as Linear or Module.backward
    kind: str            # function, class, method or data
    line: int
    cell: str            # id of the notebook cell that defines it
    notebook: str
    sig: str = ''
    doc: str = ''
    params: dict = field(default_factory=dict)
    shapes: str = ''
    raises: dict = field(default_factory=dict)
    bare: list = field(default_factory=list)  # signatures of methods that have no text of their own
    bases: list = field(default_factory=list)
    @property
    def full(self): return f'{self.module}.{self.name}'

class Module:
    "A module of the package in the folder `package`, as text; its name has dots if it lies deeper"
    def __init__(self, path, package=None):
        package = package or path.parent
        self.path,self.lib = path,package.name
        self.name = '.'.join(path.relative_to(package).with_suffix('').parts)
        self.text = path.read_text(encoding='utf-8')
        self.lines,self.tree = self.text.splitlines(),ast.parse(self.text)
        self.doc = ast.get_docstring(self.tree) or ''
        self.all = next((ast.literal_eval(o.value) for o in self.tree.body if _target(o) == '__all__'), [])
        self.comments = {o.start[0]: o.string.lstrip('# ') for o in tokenize.generate_tokens(io.StringIO(self.text).readline) if o.type == tokenize.COMMENT}
        self.functions = {o.name: o for o in self.tree.body if isinstance(o, ast.FunctionDef)}
        self.entries = [e for o in self.tree.body for e in self.of(o)]

    def cell(self, line):
        "(notebook, cell id) from the mark above `line`; the notebook as seen from the folder of all of them"
        for s in reversed(self.lines[:line]):
            if m := re.match(r'# %% (?:\.\./)*\w+/([\w./]+)\.ipynb #([\w-]+)$', s): return m[1],m[2]
        return '',''

    def entry(self, name, kind, node, **kw):
        notebook,cell = self.cell(node.lineno)
        return Entry(self.name, name, kind, node.lineno, cell, notebook, **kw)

    def borrowed(self, modules):
        "{name: full name} of what is exported here and comes from another module of the package, where it has its entry"
        res,here = {},self.name.split('.')[:-1]
        for o in self.tree.body:
            if not isinstance(o, ast.ImportFrom): continue
            base = o.module.split('.') if o.module else []
            if o.level: base = here[:len(here) - (o.level - 1)] + base
            elif base[:1] == [self.lib]: base = base[1:]
            if not (there := modules.get('.'.join(base))): continue
            have = there.borrowed(modules) | {e.name: e.full for e in there.entries}
            for a in o.names:
                if a.name == '*': res |= {k: have[k] for k in there.all if k in have}
                elif a.name in have: res[a.asname or a.name] = have[a.name]
        return {k: v for k,v in res.items() if k in self.all and k not in {e.name for e in self.entries}}

    def of(self, node):
        "The entries that a statement makes"
        if isinstance(node, ast.FunctionDef):
            if cls := _patched(node):
                if _public(cls) and _public(node.name) and ast.get_docstring(node):
                    yield self.function(f'{cls}.{node.name}', 'method', node)
            elif node.name in self.all: yield self.function(node.name, 'function', node)
        elif isinstance(node, ast.ClassDef) and node.name in self.all: yield from self.klass(node)
        elif (name := _target(node)) in self.all and name:
            yield self.entry(name, 'data', node, sig=ast.unparse(node.value), doc=self.said(node))

    def function(self, name, kind, node):
        shapes = next((ast.literal_eval(o.args[0]) for o in node.decorator_list
                       if isinstance(o, ast.Call) and ast.unparse(o.func) == 'shapes'), '')
        raises = self.raises(node)
        if shapes: raises = {'TypeError': [], 'ValueError': []} | raises
        return self.entry(name, kind, node, sig=_sig(node, kind == 'method' and not _static(node)),
                          doc=ast.get_docstring(node) or '', params=self.params(node), shapes=shapes, raises=raises)

    def klass(self, node):
        own = {o.name: o for o in node.body if isinstance(o, ast.FunctionDef)}
        patched = {o.name: o for o in self.tree.body if isinstance(o, ast.FunctionDef) and _patched(o) == node.name}
        e = self.entry(node.name, 'class', node, doc=ast.get_docstring(node) or '', bases=[ast.unparse(o) for o in node.bases])
        if init := own.get('__init__'): e.sig,e.params,e.raises = _sig(init, True),self.params(init),self.raises(init)
        elif any('dataclass' in ast.unparse(o) for o in node.decorator_list):
            fields = [o for o in node.body if isinstance(o, ast.AnnAssign)]
            e.sig = '(' + ', '.join(ast.unparse(o) for o in fields) + ')'
            e.params = {o.target.id: self.comments[o.lineno] for o in fields if o.lineno in self.comments}
            if post := own.get('__post_init__'): e.raises = self.raises(post)
        e.bare = [o.name + _sig(o, not _static(o)) for o in (own | patched).values() if _public(o.name) and not ast.get_docstring(o)]
        yield e
        for o in own.values():
            if _public(o.name) and ast.get_docstring(o): yield self.function(f'{node.name}.{o.name}', 'method', o)

    def said(self, node):
        "The comment at the end of an assignment, or at its first line, or on the line above it"
        above = self.lines[node.lineno - 2].strip() if node.lineno > 1 else ''
        lines = [node.end_lineno, node.lineno] + [node.lineno - 1]*(above.startswith('#') and not above.startswith('# %%'))
        return next((self.comments[i] for i in lines if i in self.comments), '')

    def params(self, node):
        "{parameter: the comment on its line}; of several on one line the last one has it, as with fastcore's docments"
        a = node.args
        every = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
        last = {o.lineno: o.arg for o in every}
        return {arg: self.comments[line] for line,arg in last.items() if line in self.comments}

    def raises(self, node, seen=()):
        "{exception: [messages]} of the raise statements in `node`; of private helpers that it calls, the exceptions only"
        res = {}
        for o in ast.walk(node):
            if isinstance(o, ast.Raise) and isinstance(o.exc, ast.Call):
                res.setdefault(ast.unparse(o.exc.func), []).append(_message(o.exc.args))
            name = o.func.id if isinstance(o, ast.Call) and isinstance(o.func, ast.Name) else ''
            if name.startswith('_') and name in self.functions and name not in seen:
                for k in self.raises(self.functions[name], (*seen, name)): res.setdefault(k, [])
        return {k: [m for m in v if m] for k,v in res.items()}

def _public(name): return not name.startswith('_') or name in ('__call__',)
def _static(node): return any(ast.unparse(o) == 'staticmethod' for o in node.decorator_list)

def _target(node):
    "The name that an assignment sets"
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name): return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name): return node.target.id

def _patched(node):
    "The class that `@patch` adds `node` to"
    if any(ast.unparse(o).split('(')[0] == 'patch' for o in node.decorator_list): return ast.unparse(node.args.args[0].annotation)

def _sig(node, drop_self=False):
    args = ast.parse(ast.unparse(node.args).join(['def f(', '): 0'])).body[0].args   # a copy
    if drop_self: (args.posonlyargs or args.args).pop(0)
    return f'({ast.unparse(args)})' + (f' -> {ast.unparse(node.returns)}' if node.returns else '')

def _message(args):
    "The text of an exception, with … for what is filled in"
    if not args: return ''
    try: parts = args[0].values if isinstance(args[0], ast.JoinedStr) else [args[0]]
    except AttributeError: return ''
    text = ''.join(o.value if isinstance(o, ast.Constant) and isinstance(o.value, str) else '…' for o in parts).strip()
    return text if re.search('[a-z]', text) else ''

def read(folder):
    "The modules of the package in `folder` that export something, by name"
    folder = Path(folder)
    paths = [p for p in sorted(folder.rglob('*.py')) if not any(o.startswith('_') for o in p.relative_to(folder).parts)]
    return {o.name: o for p in paths if (o := Module(p, folder)).all}

def inherit(modules):
    "A class without a constructor of its own shows that of its base, if the base is ours"
    classes = {e.name: e for m in modules.values() for e in m.entries if e.kind == 'class'}
    for e in classes.values():
        b = e
        while not b.sig and (base := next((classes[o] for o in b.bases if o in classes), None)): b = base
        e.sig = b.sig or '()' if e.sig == '' else e.sig

def missing(modules):
    "What the pages lack: names in `__all__` without an entry, and entries that say nothing"
    for m in modules.values():
        have = {e.name for e in m.entries} | m.borrowed(modules).keys()
        yield from (f'{m.name}.{o} is exported, but has no entry' for o in m.all if o not in have)
        yield from (f"{e.full} has no {'comment that says what it is' if e.kind == 'data' else 'docstring'}" for e in m.entries if not e.doc.strip())

def md(s):
    "A docstring as markdown: code and formulas as they are, the rest word for word"
    parts = re.split(r'(``.+?``|`[^`]+`|\$[^$]+\$)', ' '.join(s.split()).replace('->', '→'))
    return ''.join(o if i % 2 else re.sub(r'([\\*_\[\]<>#|~$])', r'\\\1', o) for i,o in enumerate(parts))

def _shapes(spec):
    out = []
    for o in spec.split(','):
        name,dims = o.split(':')
        dims = dims.split()
        out.append(f'`{name.strip()}` ' + ('of any one shape' if dims == ['*s'] else f"$({', '.join(dims)}{'{,}' if len(dims) == 1 else ''})$"))
    return ', '.join(out)

def render(e, chapter, source):
    "The entry as MyST: `chapter` is the link text or None, `source` the address of the file"
    sig = '' if e.kind == 'data' else e.sig
    out = [f'````{{py:{e.kind}}} {e.name}{sig}']
    if e.kind == 'data' and len(e.sig) < 120 and '\\n' not in e.sig: out.append(f':value: {e.sig}')
    out += ['', md(e.doc), '']
    out += [f':param {k}: {md(v)}' for k,v in e.params.items()]
    if e.shapes: out.append(f':shapes: {_shapes(e.shapes)}')
    silent = [k for k,msgs in e.raises.items() if not msgs]
    if silent: out.append(f":raises {', '.join(silent)}: in one sentence that says what is wrong")
    for k,msgs in e.raises.items():
        if msgs: out.append(f":raises {k}: {'; '.join(f'“{md(o)}”' for o in dict.fromkeys(msgs))}")
    if e.bases: out.append(f":extends: {', '.join(f'`{o}`' for o in e.bases)}")
    if e.bare: out.append(f":methods: {', '.join(f'`{o}`' for o in e.bare)}")
    where = f'[{chapter}](#cell-{e.cell}) · ' if chapter else ''
    out += ['', '{.where}', f'{where}[source]({source}#L{e.line})', '````', '']
    return '\n'.join(out)

def elsewhere(module, modules):
    "A line of links to what the module passes on, or nothing; a table of another's that it fills is not meant"
    filled = {ast.unparse(o.target) for o in module.tree.body if isinstance(o, ast.AugAssign)}
    passed = {k: full for k,full in module.borrowed(modules).items() if k not in filled}
    return ['{.names}\nFrom elsewhere: ' + ', '.join(f'{{py:obj}}`{k} <{full}>`' for k,full in passed.items()) + '\n'] if passed else []

def page(module, chapters, book, source, modules):
    "The reference page of `module`; `chapters` export to it, `book` is {name: chapter}"
    where = ', '.join(f'[{c.full_title}](../{c.name}.ipynb)' for c in chapters)
    what = 'Chapter' if chapters[0].number else 'Notebook'
    head = [f'# `{module.name}`\n', f'{{.promise}}\n> {md(module.doc)}\n', f"{{.launch}}\n{what}{'s'*(len(chapters) > 1)} {where}\n",
            f'```{{py:currentmodule}} {module.name}\n```\n', *elsewhere(module, modules)]
    return '\n'.join(head + [render(e, book[e.notebook].full_title, source) for e in module.entries])

def index(parts, package, modules):
    "The first page of the reference: all names in one line each, in the `parts` {caption: [module]}"
    out = ['# Reference\n', f'The modules of the package `{package}`, in the order of the book. Each name leads to its entry, and from there to '
           'the cell that defines it.\n']
    for caption,some in parts.items():
        out.append(f'## {caption}\n')
        for m in some:
            out += [f'### [`{m.name}`]({m.name}.md)\n', f'{md(m.doc)}\n', *elsewhere(m, modules), '{.names}']
            for e in m.entries:
                if e.kind == 'method': continue
                out.append(f'- {{py:obj}}`{e.name} <{e.full}>` {md(e.doc.split(chr(10))[0])}')
            if out[-1] == '{.names}': out.pop()
            out.append('')
    out.append('\n'.join(['```{toctree}', ':hidden:', *(m.name for some in parts.values() for m in some), '```']))
    return '\n'.join(out)
