"""Make data/mnist.pkl.gz from the four original files of MNIST, byte for byte, or check it.

    python tools/make_mnist.py FOLDER [OUT]    make it from the IDX files in FOLDER (raw or gzipped)
    python tools/make_mnist.py --check [FILE]  compare it with the checksums in data/README.md

The four files are used only if their SHA-256 is the published one. OUT and FILE are data/mnist.pkl.gz if not given.
"""
import argparse, gzip, hashlib, io, pickle, re, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
import numpy as np
from backprop_nb.core.data import DataError, _find, _from_idx, _gunzip, _new_file, mnist_sha256

reconstruct = np.zeros(1).__reduce__()[0]   # the function that a pickle of an array asks for

class Pickler(pickle._Pickler):
    "Writes the name of that function as every NumPy knows it: NumPy 2 would write numpy._core, which older ones lack"
    def save_global(self, obj, name=None):
        if obj is not reconstruct: return super().save_global(obj, name)
        self.save('numpy.core.multiarray')
        self.save('_reconstruct')
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

def stream(folder):
    "The pickle of the three pairs, not yet packed; protocol 4 is fixed, since the default changes with Python"
    files = {name: _find(folder, name) for name in mnist_sha256}
    missing = [name for name, raw in files.items() if raw is None]
    if missing: raise DataError(f'{folder} lacks {", ".join(missing)} (raw or .gz)')
    pairs = tuple(tuple(t.numpy() for t in pair) for pair in _from_idx(files))
    out = io.BytesIO()
    Pickler(out, 4).dump(pairs)
    return out.getvalue()

def pack(raw):
    "`raw` gzipped without name and time, so that only the zlib in use can make a difference"
    out = io.BytesIO()
    with gzip.GzipFile('', 'wb', compresslevel=9, fileobj=out, mtime=0) as f: f.write(raw)
    return out.getvalue()

def differs(packed, raw):
    "What is not as data/README.md records it, in words; empty if all is"
    readme = (root/'data'/'README.md').read_text(encoding='utf-8')
    want = dict(re.findall(r'^\| `(mnist\.pkl(?:\.gz)?)`.*`([0-9a-f]{64})` \|$', readme, re.M))
    got = {'mnist.pkl.gz': packed, 'mnist.pkl': raw}
    return [f'{name} has the SHA-256 {sha}, not {want[name]}' for name, data in got.items()
            if (sha := hashlib.sha256(data).hexdigest()) != want[name]]

def make(folder, out):
    raw = stream(folder)
    packed = pack(raw)
    wrong = differs(packed, raw)
    if any(w.startswith('mnist.pkl ') for w in wrong): raise DataError(f'the recipe has changed: {"; ".join(wrong)}')
    with _new_file(out) as f: f.write(packed)
    print(f'{out}: {len(packed)} bytes,', 'the same content, but packed by another zlib' if wrong else 'as recorded')

def check(path):
    packed = path.read_bytes()
    wrong = differs(packed, _gunzip(packed, path, 2**29))
    if wrong: raise DataError(f'{path} is not the recorded file: ' + '; '.join(wrong))
    print(f'{path}: as recorded')

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--check', action='store_true', help='change nothing')
    ap.add_argument('paths', nargs='*', type=Path, help='FOLDER [OUT], or with --check FILE')
    a = ap.parse_args()
    if not 1 <= len(a.paths) + a.check <= 2: ap.error('give FOLDER [OUT], or --check [FILE]')
    default = root/'data'/'mnist.pkl.gz'
    try:
        if a.check: check(*a.paths or [default])
        else: make(a.paths[0], *a.paths[1:] or [default])
    except (DataError, OSError) as e: sys.exit(f'make_mnist.py: {e}')

if __name__ == '__main__': main()
