"""Run the notebooks from a clean state: write their outputs, or compare them with what is stored.

    python tools/run_notebooks.py [NOTEBOOK ...]           run and store the outputs
    python tools/run_notebooks.py --check [NOTEBOOK ...]   run and compare the text outputs with the stored ones
    python tools/run_notebooks.py --slow [NOTEBOOK ...]    run the cells marked `#| slow` as well, which else keep their outputs

Without a name, all that lie in nbs/ and in its rooms; a folder stands for the notebooks in it. Each notebook runs in a process of
its own, in its own folder, as `nbdev_test` runs it, and with one thread, so that sums are added up in the same order on every
machine.
"""
import argparse, difflib, os, subprocess, sys, time
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def within(folder):
    "The notebooks in `folder` and below, but those that an editor or a reader has put aside"
    return [p for p in sorted(folder.rglob('*.ipynb')) if not any(o[0] in '._' for o in p.relative_to(folder).parts)]

def short(path):
    "`path` as seen from nbs/, if it lies there"
    return path.relative_to(root/'nbs').as_posix() if path.is_relative_to(root/'nbs') else str(path)

def texts(cell):
    "The text outputs of `cell`, one string each"
    for o in cell.get('outputs', []):
        if o['output_type'] == 'stream': yield ''.join(o['text'])
        elif o['output_type'] != 'error':
            yield from (''.join(v) for k, v in sorted(o.get('data', {}).items()) if k in ('text/plain', 'text/html', 'text/markdown'))

def run_one(path, check, slow=False):
    "Run one notebook in this process; the exit status is 1 where it fails or differs"
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import clean_nb
    old, nb = read_nb(path), read_nb(path)
    os.chdir(path.parent)
    os.environ['IN_TEST'] = '1'
    sys.path.insert(0, str(root))
    shell, start = CaptureShell(path), time.time()
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        keep = ('#|eval:false',) if slow else ('#|eval:false', '#|slow')
        skip = any(l.replace(' ', '').startswith(keep) for l in cell.source.splitlines())
        if skip: continue   # these keep the outputs that they have
        cell.outputs = []
        shell.cell(cell)
        if shell.exc:
            print(f'{short(path)} fails\n{shell.prettytb(path.name)}')
            return 1
    clean_nb(nb)
    clean_nb(old)
    took = f'{short(path):24} {time.time() - start:5.1f} s'
    if not check:
        write_nb(nb, path)
        print(took)
        return 0
    bad = 0
    for was, now in zip(old.cells, nb.cells):
        if was.cell_type != 'code': continue
        a, b = '\n'.join(texts(was)), '\n'.join(texts(now))
        if a == b: continue
        bad += 1
        first = (was.source.strip().splitlines() or [''])[0]
        print(f'{short(path)}: the cell {first!r} prints something else than what is stored')
        print('\n'.join(difflib.unified_diff(a.splitlines(), b.splitlines(), 'stored', 'now', lineterm='', n=1)))
    print(took, 'outputs differ' if bad else 'same text outputs')
    return bool(bad)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('notebooks', nargs='*', type=Path, help='notebooks to run, or folders of them (default: nbs)')
    ap.add_argument('--check', action='store_true', help='compare with the stored text outputs; change nothing')
    ap.add_argument('--slow', action='store_true', help='run the slow cells, too')
    ap.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
    a = ap.parse_args()
    paths = [q for p in a.notebooks or [root/'nbs'] for q in (within(p.resolve()) if p.is_dir() else [p.resolve()])]
    if a.one: sys.exit(run_one(paths[0], a.check, a.slow))
    flags = ['--one'] + ['--check'] * a.check + ['--slow'] * a.slow
    env = os.environ | dict(OMP_NUM_THREADS='1')
    failed = [short(p) for p in paths if subprocess.run([sys.executable, __file__, *flags, str(p)], env=env).returncode]
    if failed: print('failed:', ', '.join(failed))
    print(f'{len(paths) - len(failed)} passed, {len(failed)} failed')
    sys.exit(bool(failed))

if __name__ == '__main__': main()
