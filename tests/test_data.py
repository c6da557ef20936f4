"""The data: a server that misbehaves, files that are damaged, pickles that attack, and the recipe of the data file.

The fingerprints of the four files are replaced by those of tiny ones, so that this is fast. The test that makes the
real file again takes half a minute and needs the four IDX files: set MNIST_IDX to the folder that holds them.
"""
import copyreg, gzip, hashlib, io, os, pickle, random, signal, struct, subprocess, sys, threading, time
import tracemalloc, warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import numpy as np, pytest, torch
import backprop_nb
from backprop_nb.core import data
from backprop_nb.core.data import DataError, load_mnist, show_images

root = Path(__file__).resolve().parent.parent
names = list(data.mnist_sha256)

# ---- tiny files in the place of the real ones

def idx(a): return bytes([0, 0, 8, a.ndim]) + np.array(a.shape, '>u4').tobytes() + a.astype('u1').tobytes()

rng = np.random.default_rng(0)
arrays = [rng.integers(0, 256, (12, 28, 28)), np.arange(12) % 10, rng.integers(0, 256, (4, 28, 28)), np.arange(4)]
tiny = {name: idx(a) for name, a in zip(names, arrays)}
packed = {name: gzip.compress(raw) for name, raw in tiny.items()}

@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty home: no repository, no variable, an empty cache, tiny files for MNIST; returns the cache"
    monkeypatch.setattr(data, 'mnist_sha256', {n: hashlib.sha256(raw).hexdigest() for n, raw in tiny.items()})
    monkeypatch.setattr(backprop_nb, '__file__', str(tmp_path/'site'/'backprop_nb'/'__init__.py'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'caches'))
    for v in ('BACKPROP_NB_DATA', 'http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(v, raising=False)
    return tmp_path/'caches'/'backprop_nb'

def is_tiny(got):
    want = [(arrays[0][:10], arrays[1][:10]), (arrays[0][10:], arrays[1][10:]), (arrays[2], arrays[3])]
    for (x, y), (x0, y0) in zip(got, want, strict=True):
        assert x.dtype == torch.float32 and y.dtype == torch.int64
        np.testing.assert_array_equal(x.numpy() * 256, x0.reshape(len(x0), 784))
        np.testing.assert_array_equal(y, y0)
    return True

def refused(*words, f=load_mnist, **kw):
    "The call must raise a DataError of one line, whose message holds `words` and is all that a reader sees"
    with pytest.raises(DataError) as e: f(**kw)
    assert '\n' not in str(e.value) and e.value.__suppress_context__ | (e.value.__context__ is None)
    for w in words: assert str(w) in str(e.value), f'{w!r} is missing in: {e.value}'

def left(folder): return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

# ---- a server that misbehaves

bomb = gzip.compress(bytes(2**26 + 1), 1)

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        _, way, file = self.path.split('/')
        self.server.asked.append(f'{way}/{file}')
        try: getattr(self, way)(packed[file.removesuffix('.gz')])
        except (BrokenPipeError, ConnectionResetError): pass   # the other side has had enough

    def send(self, body, length=None, **headers):
        self.send_response(200)
        if length != 'none': self.send_header('Content-Length', str(len(body) if length is None else length))
        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        self.wfile.write(body)

    def good(self, body): self.send(body)
    def missing(self, body): self.send_error(404)
    def broken(self, body): self.send_error(500)
    def flipped(self, body): self.send(body[:40] + bytes([body[40] ^ 1]) + body[41:])
    def other(self, body): self.send(gzip.compress(b'something else'))
    def html(self, body): self.send(b'<html>Please log in</html>')
    def nothing(self, body): self.send(b'')
    def short(self, body): self.send(body[:len(body)//2])   # and its length agrees
    def half(self, body): self.send(body[:len(body)//2], length=len(body))
    def half_unsaid(self, body): self.send(body[:len(body)//2], length='none')
    def odd_length(self, body): self.send(body, length='many')
    def bad_chunks(self, body):
        self.protocol_version = 'HTTP/1.1'
        self.send(b'5\r\nabc', length='none', Transfer_Encoding='chunked')
    def hung_up(self, body): self.connection.close()
    def not_http(self, body): self.wfile.write(b'\0\1\2\3\n')
    def stalls(self, body):
        self.send(body[:20], length=len(body))
        self.server.release.wait(10)
    def bomb(self, body): self.send(bomb)
    def endless(self, body):
        self.send(b'', length='none')
        while True: self.server.sent += self.wfile.write(bytes(2**20))
    def interrupts(self, body):   # the reader presses Ctrl-C when half of it has come
        self.send(body[:len(body)//2], length=len(body))
        self.wfile.flush()
        time.sleep(.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        self.server.release.wait(10)

@pytest.fixture
def server():
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.daemon_threads, s.asked, s.sent, s.release = True, [], 0, threading.Event()
    s.url = f'http://127.0.0.1:{s.server_port}/'
    t = threading.Thread(target=s.serve_forever, kwargs=dict(poll_interval=.02))
    t.start()
    yield s
    s.release.set()
    s.shutdown()
    t.join()
    s.server_close()

bad_ways = dict(
    missing='404', broken='500', flipped='damaged', other='SHA-256', html='SHA-256', nothing='SHA-256',
    short='cut off', half='cut off', half_unsaid='cut off', odd_length='many', bad_chunks='', hung_up='',
    not_http='', stalls='timed out', bomb='unpacks to more', endless='sent more')

def patience(way): return .6 if way == 'stalls' else 10.

def test_good_mirror_and_cache(home, server):
    assert is_tiny(load_mnist(mirrors=[server.url + 'good/']))
    assert left(home) == sorted(f'{n}.gz' for n in names)
    assert server.asked == [f'good/{n}.gz' for n in names]
    assert is_tiny(load_mnist(mirrors=[server.url + 'good/'])) and is_tiny(load_mnist(download=False))
    assert len(server.asked) == 4   # the cache has answered
    assert {p.stat().st_mode & 0o777 for p in home.iterdir()} == {0o666 & ~umask()}

def umask():
    old = os.umask(0)
    os.umask(old)
    return old

@pytest.mark.parametrize('way', bad_ways)
def test_bad_mirror(home, server, way):
    said = f'{server.url}{way}/{names[0]}.gz', bad_ways[way], 'BACKPROP_NB_DATA'
    refused(*said, mirrors=[server.url + way], timeout=patience(way))
    assert left(home) == [] and server.sent < 2**27

@pytest.mark.parametrize('way', bad_ways)
def test_next_mirror(home, server, way):
    assert is_tiny(load_mnist(mirrors=[server.url + way, server.url + 'good'], timeout=patience(way)))
    assert left(home) == sorted(f'{n}.gz' for n in names)

def test_no_network(home):
    nowhere = ['http://127.0.0.1:9/', 'http://no-such-host.invalid/']
    refused('could not download', 'connect to the network', mirrors=nowhere)
    refused('no mirror', mirrors=[])
    assert left(home) == []

def test_no_download(home, server):
    refused('may not download', 'download=False', home, download=False, mirrors=[server.url + 'good'])
    assert not server.asked and not home.exists()

def test_progress_is_shown(home, server, capsys):
    load_mnist(mirrors=[server.url + 'good'])
    assert f'{names[0]}.gz' in capsys.readouterr().err

@pytest.mark.parametrize('lost', names)
def test_only_what_is_missing_is_fetched(home, server, lost):
    load_mnist(mirrors=[server.url + 'good'])
    kept = {p.name: p.stat().st_mtime_ns for p in home.iterdir()}
    (home/f'{lost}.gz').unlink()
    server.asked.clear()
    assert is_tiny(load_mnist(mirrors=[server.url + 'good']))
    assert server.asked == [f'good/{lost}.gz']
    assert all((home/n).stat().st_mtime_ns == t for n, t in kept.items() if n != f'{lost}.gz')

@pytest.mark.parametrize('damage', [b'', b'rubbish', packed[names[2]][:-9], gzip.compress(b'other')])
def test_damaged_cache(home, server, damage):
    load_mnist(mirrors=[server.url + 'good'])
    kept = {p: p.read_bytes() for p in home.iterdir()}
    bad = home/f'{names[2]}.gz'
    bad.write_bytes(damage)
    refused(bad, download=False)
    refused('404', mirrors=[server.url + 'missing'])
    assert bad.read_bytes() == damage and left(home) == sorted(p.name for p in kept)
    assert is_tiny(load_mnist(mirrors=[server.url + 'good']))
    assert all(p.read_bytes() == b for p, b in kept.items())

def test_raw_file_in_cache_is_mended(home, server):
    home.mkdir(parents=True)
    (home/names[0]).write_bytes(b'rubbish')
    assert is_tiny(load_mnist(mirrors=[server.url + 'good']))

# ---- nothing half-written, nothing good overwritten

@pytest.mark.skipif(not hasattr(signal, 'pthread_kill'), reason='Windows has no such signals')
def test_ctrl_c_while_reading(home, server):
    load_mnist(mirrors=[server.url + 'good'])
    lost = home/f'{names[1]}.gz'
    lost.unlink()
    kept = {p: p.read_bytes() for p in home.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        load_mnist(mirrors=[server.url + 'interrupts', server.url + 'good'], timeout=5)
    assert {p: p.read_bytes() for p in home.iterdir()} == kept

@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError(28, 'No space left on device')])
@pytest.mark.parametrize('where', ['write', 'replace'])
def test_interrupted_while_writing(home, server, monkeypatch, error, where):
    def fail(*_): raise error
    if where == 'replace': monkeypatch.setattr(os, 'replace', fail)
    else:
        class File(io.FileIO):
            def write(self, b):
                super().write(b[:10])
                fail()
        monkeypatch.setattr(data, 'open', File, raising=False)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt): load_mnist(mirrors=[server.url + 'good'])
    else: refused('cannot write into its cache', 'No space left', 'XDG_CACHE_HOME', mirrors=[server.url + 'good'])
    assert left(home) == []

def test_a_file_is_never_seen_half_written(home, server, monkeypatch):
    seen = []
    class File(io.FileIO):
        def write(self, b):
            for i in range(0, len(b), 1 + len(b)//5):
                super().write(b[i:i + 1 + len(b)//5])
                there = [p for p in home.iterdir() if p.name.endswith('.gz')]
                seen.extend(p for p in there if p.read_bytes() != packed[p.stem])
            return len(b)
    monkeypatch.setattr(data, 'open', File, raising=False)
    assert is_tiny(load_mnist(mirrors=[server.url + 'good'])) and not seen

def test_many_at_once(home, server):
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: load_mnist(mirrors=[server.url + 'good']), range(8)))
    assert all(map(is_tiny, got)) and left(home) == sorted(f'{n}.gz' for n in names)

def test_cache_cannot_be_written(home, server, monkeypatch):
    home.parent.write_bytes(b'a file in the place of the folder')
    refused('cannot write into its cache', home, 'BACKPROP_NB_DATA', mirrors=[server.url + 'good'])
    home.parent.unlink()
    home.mkdir(parents=True)
    def read_only(*_): raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(data, 'open', read_only, raising=False)
    refused('cannot write into its cache', 'Permission denied', mirrors=[server.url + 'good'])
    assert not server.asked and left(home) == []   # said before anything is downloaded

# ---- where it looks

def small_pickle(protocol=4): return gzip.compress(pickle.dumps(small, protocol))

small = tuple((rng.integers(0, 256, (n, 784)).astype('f4') / 256, np.arange(n) % 10) for n in (5, 2, 3))

def is_small(got):
    for (x, y), (x0, y0) in zip(got, small, strict=True):
        assert x.dtype == torch.float32 and y.dtype == torch.int64
        assert x.equal(torch.tensor(x0)) and y.equal(torch.tensor(y0))
        x += 1   # a tensor of its own, which may be written to
    return True

@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_folder_of_four(home, tmp_path, suffix):
    for n in names: (tmp_path/(n + suffix)).write_bytes(packed[n] if suffix else tiny[n])
    assert is_tiny(load_mnist(tmp_path)) and is_tiny(load_mnist(str(tmp_path)))
    (tmp_path/(names[3] + suffix)).unlink()
    refused(f'no {names[3]}', '`path`', path=tmp_path)
    (tmp_path/(names[3] + suffix)).write_bytes(b'\0' + (packed[names[3]] if suffix else tiny[names[3]])[1:-1] + b'\1')
    refused(names[3], 'SHA-256', path=tmp_path)
    assert not home.exists()

def test_order(home, tmp_path, monkeypatch, server):
    "path before variable before repository before cache before download"
    def put(folder, label):
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(np.zeros((1, 784), 'f4'), np.array([label]))] * 3
        (folder/'mnist.pkl.gz').write_bytes(gzip.compress(pickle.dumps(pairs)))
        return folder
    def got(*a): return load_mnist(*a, mirrors=[server.url + 'missing'])[0][1].item()
    put(home, 1)
    assert got() == 1
    put(tmp_path/'site'/'data', 2)
    assert got() == 2
    monkeypatch.chdir(put(tmp_path/'here'/'data', 9).parent)   # a stranger's data/ in the current folder
    assert got() == 2
    monkeypatch.setenv('BACKPROP_NB_DATA', str(put(tmp_path/'named', 3)))
    assert got() == 3
    monkeypatch.setenv('BACKPROP_NB_DATA', str(tmp_path/'named'/'mnist.pkl.gz'))
    assert got() == 3
    assert got(put(tmp_path/'given', 4)) == 4 and got('data') == 9
    monkeypatch.setenv('BACKPROP_NB_DATA', '')
    assert got() == 2
    assert not server.asked

def test_wrong_turns_are_errors(home, tmp_path, monkeypatch, server):
    refused('`path`', 'does not exist', tmp_path/'no', path=tmp_path/'no')
    monkeypatch.setenv('BACKPROP_NB_DATA', str(tmp_path/'no'))
    refused('BACKPROP_NB_DATA', 'does not exist', tmp_path/'no', mirrors=[server.url + 'good'])
    monkeypatch.setenv('BACKPROP_NB_DATA', str(tmp_path))
    refused('BACKPROP_NB_DATA', 'no mnist.pkl.gz', mirrors=[server.url + 'good'])
    (tmp_path/'mnist.pkl.gz').write_bytes(b'rubbish')
    refused(tmp_path/'mnist.pkl.gz', 'no gzip file', mirrors=[server.url + 'good'])
    refused('does not exist', path='x' * 5000)
    refused('does not exist', path='nul\0byte')
    assert not server.asked and not home.exists()

def test_unreadable_file(home, tmp_path, monkeypatch):
    (tmp_path/'mnist.pkl.gz').write_bytes(small_pickle())
    def denied(self): raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(Path, 'read_bytes', denied)
    refused('cannot read', 'Permission denied', tmp_path, path=tmp_path)

# ---- damaged and wrong pickles

def at(tmp_path, content):
    p = tmp_path/'some.pkl.gz'
    p.write_bytes(content)
    return p

def test_tensors_share_nothing(tmp_path):
    "A pickle may hold one array three times; whoever writes on one tensor must not write on the others"
    (x, _), (x2, _), _ = load_mnist(at(tmp_path, gzip.compress(pickle.dumps([small[0]] * 3))))
    x += 1
    assert x2.equal(torch.tensor(small[0][0]))

@pytest.mark.parametrize('protocol', range(2, 6))
def test_every_protocol(tmp_path, protocol):
    assert is_small(load_mnist(at(tmp_path, small_pickle(protocol))))
    by_columns = [(np.asfortranarray(x), y) for x, y in small]
    assert is_small(load_mnist(at(tmp_path, gzip.compress(pickle.dumps(by_columns, protocol)))))

def test_every_cut_and_every_flipped_byte_is_noticed(tmp_path):
    pairs = [(np.zeros((1, 784), 'f4'), np.array([1]))] * 3
    whole = gzip.compress(pickle.dumps(pairs), mtime=0)
    for n in range(len(whole)): refused(path=at(tmp_path, whole[:n]))
    for i in range(10, len(whole)):   # the first ten bytes are gzip's own: time, system
        refused(path=at(tmp_path, whole[:i] + bytes([whole[i] ^ 4]) + whole[i+1:]))

def test_flip_that_the_usual_lines_miss(tmp_path):
    packed = bytearray(gzip.compress(pickle.dumps(small), compresslevel=0))
    packed[len(packed)//2] ^= 1   # stored as it is, so it is still a pickle
    refused('damaged', path=at(tmp_path, packed))

def test_bomb_is_not_unpacked():
    tracemalloc.start()
    refused('unpacks to more', f=lambda: data._gunzip(bomb, 'a bomb', 2**20))
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()

def test_bomb(tmp_path):
    refused('unpacks to more', path=at(tmp_path, gzip.compress(bytes(2**29 + 1), 1)))

def swapped(i, x=None, y=None):
    pairs = [list(p) for p in small]
    if x is not None: pairs[i][0] = x(pairs[i][0])
    if y is not None: pairs[i][1] = y(pairs[i][1])
    return pairs

nan = np.full((5, 784), np.nan, 'f4')
three = ['three pairs']
@pytest.mark.parametrize('content,words', [
    ([], three), (small[:2], three), (small + small[:1], three), (7, three), (None, three),
    ({'a': 1, 'b': 2, 'c': 3}, three), ([small[0][0]] * 3, three), ([(1, 2)] * 3, three),
    ([p + p for p in small], three), (np.zeros((3, 2)), three),
    (swapped(0, x=lambda x: x.astype('f8')), ['training', 'float64']),
    (swapped(0, x=lambda x: x.astype('>f4')), ['training', '>f4']),
    (swapped(1, x=lambda x: x[:, 1:]), ['validation', '783']),
    (swapped(1, x=lambda x: x.reshape(-1, 28, 28)), ['validation', '28, 28']),
    (swapped(2, x=lambda x: x[:0], y=lambda y: y[:0]), ['test', '(0, 784)']),
    (swapped(0, x=lambda x: x * 256 / 255), ['training', 'pixels', '256']),
    (swapped(0, x=lambda x: x * 256), ['pixels', '256']),
    (swapped(0, x=lambda x: -x), ['pixels']),
    (swapped(0, x=lambda x: nan), ['pixels', 'nan']),
    (swapped(2, y=lambda y: y + 8), ['test', 'labels', '10']),
    (swapped(2, y=lambda y: y - 1), ['test', 'labels', '-1']),
    (swapped(0, y=lambda y: y.astype('i4')), ['int32']),
    (swapped(0, y=lambda y: y.astype('f4')), ['float32']),
    (swapped(0, y=lambda y: y[:-1]), ['(4,)']),
    (swapped(0, y=lambda y: y[:, None]), ['(5, 1)']),
])
def test_structure(tmp_path, content, words):
    refused(*words, path=at(tmp_path, gzip.compress(pickle.dumps(content))))

# ---- pickles that attack

class Calls:
    "Its pickle asks to call `f` with `args`"
    def __init__(self, f, *args): self.f, self.args = f, args
    def __reduce__(self): return self.f, self.args

def glob(module, name): return b'\x80\x02c' + f'{module}\n{name}\n'.encode()
def stack_glob(module, name):   # protocol 4: the name may have dots
    return b'\x80\x04' + b''.join(b'\x8c' + bytes([len(s)]) + s.encode() for s in (module, name)) + b'\x93'

def attacks(flag):
    touch = f'open({str(flag)!r}, "w").close()'
    import numpy.lib
    yield 'system', pickle.dumps(Calls(os.system, f'touch {flag}'))
    for p in range(6):
        yield 'eval', pickle.dumps(Calls(eval, touch), p)
        yield 'exec', pickle.dumps([small, Calls(exec, touch)], p)
    yield 'Popen', pickle.dumps(Calls(subprocess.Popen, ['touch', str(flag)]))
    yield 'getattr', pickle.dumps(Calls(getattr, 'x', 'y'))
    yield '__import__', pickle.dumps(Calls(__import__, 'antigravity'))
    yield 'load', pickle.dumps(Calls(np.load, str(flag)))
    yield 'memmap', pickle.dumps(Calls(np.memmap, str(flag), 'u1', 'w+', 0, (1,)))
    yield 'savetxt', pickle.dumps(Calls(np.savetxt, str(flag), [1]))
    yield 'scalar', pickle.dumps(np.float32(1))
    for bad in ('_reconstruct.__globals__', '_reconstruct.__class__', 'ndarray'):
        yield bad, stack_glob('numpy.core.multiarray', bad) + b'.'
    for bad in ('core.multiarray._reconstruct', 'dtype.__init__', 'ndarray.tofile', 'ndarray.__class__'):
        yield bad, stack_glob('numpy', bad) + b'.'
    yield 'decode', glob('_codecs', 'decode') + b'.'
    yield 'system', glob('os', 'system') + f'(S"touch {flag}"\ntR.'.encode()
    yield 'system', f'(S"touch {flag}"\nios\nsystem\n.'.encode()                      # INST
    yield 'system', b'\x80\x02(' + glob('os', 'system')[2:] + f'S"touch {flag}"\no.'.encode()   # OBJ
    yield 'Popen', glob('subprocess', 'Popen') + f'(S"touch {flag}"\nt\x81.'.encode('latin-1')   # NEWOBJ
    yield '__builtin__', glob('__builtin__', 'eval') + f'(S{touch!r}\ntR.'.encode()   # as Python 2 says it

def test_attacks_are_refused_by_name(tmp_path):
    flag, n = tmp_path/'executed', 0
    for name, raw in attacks(flag):
        refused('refuses', 'asks to run', name, path=at(tmp_path, gzip.compress(raw)))
        assert not flag.exists(), f'{name} has run'
        n += 1
    assert n > 25

def array_state(shape, dtype, raw):
    "The pickle of an array with this state, whether or not it makes sense"
    class A:
        def __reduce__(self):
            return np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b'b'), (1, shape, dtype, False, raw)
    return A()

f4, u1, obj = map(np.dtype, ('f4', 'u1', 'O'))
@pytest.mark.parametrize('bad', [
    np.array([1, 'a', None], dtype=object), np.array([{}]),
    array_state((10**15,), f4, b'1234'), array_state((-1,), f4, b''), array_state('abc', f4, b'1234'),
    array_state((2**62, 2**62), u1, b'12'), array_state((1,), f4, 5), array_state((1,), 'f4', b'1234'),
    array_state((1,), None, b'1234'), array_state((1,), obj, b'12345678'), array_state((1,), obj, [1]),
    Calls(np.ndarray, (10**15,)), Calls(np.ndarray, 10**15), Calls(np.dtype, 'O'), Calls(np.dtype, [1, 2]),
    np.zeros(3, 'i4,f4'), np.array('2020', 'M8[D]'),
], ids=str)
def test_strange_arrays(tmp_path, bad):
    for content in (bad, [(bad, bad)] * 3):
        start = time.time()
        refused(path=at(tmp_path, gzip.compress(pickle.dumps(content))))
        assert time.time() - start < 2

@pytest.mark.parametrize('raw', [
    b'', b'.', b'\x80', b'\x80\xff.', b'hello', b'<html>', b'\x80\x04N', b'R.', b'0.', b'(.', b'\x80\x02\x82\x01.',
    b'\x80\x04\x8e' + struct.pack('<Q', 2**62) + b'x.', b'\x80\x05\x96' + struct.pack('<Q', 2**62) + b'x.',
    b'\x80\x04P1\n.', b'\x80\x04K\x01Q.', b'\x80\x04NN\x93.',
    glob('numpy', 'dtype') + b'}(S"name"\nI1\nub.', glob('numpy', 'ndarray') + b'N}(S"__defaults__"\nI1\nu\x86b.',
], ids=str)
def test_broken_pickles(tmp_path, raw): refused(path=at(tmp_path, gzip.compress(raw)))

def test_what_a_pickle_writes_on_a_name_does_not_last(tmp_path):
    "BUILD sets attributes on what find_class returns: it must not be anything that is used again"
    spoil = b'N}(S"__defaults__"\n(S"x"\ntS"__kwdefaults__"\n}S"spoilt"\nI1\nu\x86b.'
    for module, name in data._stand_ins:
        with pytest.raises(DataError): load_mnist(at(tmp_path, gzip.compress(glob(module, name) + spoil)))
    assert not any(hasattr(v, 'spoilt') or getattr(v, '__defaults__', None) for v in data._stand_ins.values())
    for protocol in range(2, 6): assert is_small(load_mnist(at(tmp_path, small_pickle(protocol))))

def test_extension_codes_give_no_way_round(tmp_path):
    copyreg.add_extension('os', 'system', 240)
    try: refused('os.system', path=at(tmp_path, gzip.compress(b'\x80\x02\x82\xf0.')))
    finally: copyreg.remove_extension('os', 'system', 240)

def test_random_changes_run_nothing(tmp_path):
    "A changed pickle is refused with a DataError or still holds arrays: there is no third"
    raw = pickle.dumps([(np.zeros((1, 784), 'f4'), np.array([1]))] * 3, 4)
    r, refusals = random.Random(0), 0
    head = [i for i, b in enumerate(raw) if b][:250]   # where the program is: the pixels are zero
    for _ in range(1500):
        bad = bytearray(raw)
        i = r.choice(head)
        bad[i] = r.choice([b for b in range(256) if b not in b'rp'])   # LONG_BINPUT and PUT only fill memory
        try: load_mnist(at(tmp_path, gzip.compress(bad, 0)))
        except DataError: refusals += 1
    assert refusals > 750

# ---- Python 2

def py2_pickle():
    "What Python 2 wrote: names in numpy.core, and bytes as 8-bit strings"
    def string(b): return b'T' + struct.pack('<I', len(b)) + b
    def dtype(a):
        return b'cnumpy\ndtype\n(S"' + a.dtype.str[1:].encode() + b'"\nI0\nI1\ntR(I3\nS"<"\nNNNI-1\nI-1\nI0\ntb'
    def array(a):
        shape = b'(' + b''.join(b'I%d\n' % n for n in a.shape) + b't'
        return (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS"b"\ntR'
                + b'(I1\n' + shape + dtype(a) + b'I00\n' + string(a.tobytes()) + b'tb')
    return b'\x80\x02(' + b''.join(b'(' + array(x) + array(y) + b't' for x, y in small) + b't.'

def test_python_2(tmp_path):
    raw = py2_pickle()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        x, _ = pickle.loads(raw, encoding='latin-1')[0]   # the usual lines read it: it is a true one
    np.testing.assert_array_equal(x, small[0][0])
    assert is_small(load_mnist(at(tmp_path, gzip.compress(raw))))

# ---- the file in the repository, and its recipe

def usual_lines(path):
    "As the notebook that the book grew from loads it"
    with gzip.open(path, 'rb') as f:
        ((x_train, y_train), (x_valid, y_valid), test) = pickle.load(f, encoding='latin-1')
    return (x_train, y_train), (x_valid, y_valid), test

def test_the_file(monkeypatch):
    monkeypatch.delenv('BACKPROP_NB_DATA', raising=False)
    start = time.time()
    got = load_mnist(download=False)
    assert time.time() - start < 20   # about 1 on an idle machine
    usual, sizes = usual_lines(root/'data'/'mnist.pkl.gz'), (50_000, 10_000, 10_000)
    for (x, y), (x0, y0), n in zip(got, usual, sizes, strict=True):
        assert x0.shape == (n, 784) and x0.dtype == np.float32 and y0.shape == (n,) and y0.dtype == np.int64
        assert x.max() == 255/256 and x.min() == 0 and y.min() == 0 and y.max() == 9
        np.testing.assert_array_equal(x, x0)
        np.testing.assert_array_equal(y, y0)

def make(*args):
    return subprocess.run([sys.executable, root/'tools'/'make_mnist.py', *args], capture_output=True, text=True)

def test_check_mode(tmp_path):
    r = make('--check')
    assert r.returncode == 0 and 'as recorded' in r.stdout, r.stderr
    r = make('--check', at(tmp_path, small_pickle()))
    assert r.returncode == 1 and 'not the recorded file' in r.stderr and 'Traceback' not in r.stderr
    assert make('--check', 'a', 'b').returncode == 2

def test_recipe_wants_the_true_files(tmp_path):
    for n in names: (tmp_path/n).write_bytes(tiny[n])
    r = make(tmp_path, tmp_path/'out.pkl.gz')
    assert r.returncode == 1 and 'SHA-256 differs' in r.stderr and 'Traceback' not in r.stderr
    assert make(tmp_path/'nowhere', tmp_path/'out.pkl.gz').returncode == 1
    assert not (tmp_path/'out.pkl.gz').exists()

def test_recipe_byte_for_byte(tmp_path):
    folder = os.environ.get('MNIST_IDX')
    if not folder:
        why = 'NOT TESTED: the recipe of data/mnist.pkl.gz; set MNIST_IDX to the folder with the four IDX files'
        warnings.warn(why)
        pytest.skip(why)
    out = tmp_path/'again.pkl.gz'
    r = make(folder, out)
    assert r.returncode == 0, r.stderr
    ours, again = (root/'data'/'mnist.pkl.gz').read_bytes(), out.read_bytes()
    assert gzip.decompress(ours) == gzip.decompress(again)
    assert ours == again or 'another zlib' in r.stdout
    assert left(tmp_path) == ['again.pkl.gz']

# ---- the rest

def test_import_is_cheap():
    "tqdm and urllib come along with torch, so look at what the module itself names"
    code = ('import backprop_nb.core.data as d, sys; '
            'print("matplotlib" in sys.modules, *{"tqdm", "urlopen", "plt", "HTTPException"} & set(vars(d)))')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=root)
    assert r.stdout.split() == ['False'], r.stdout + r.stderr

def test_show_images(monkeypatch):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    x = torch.rand(12, 784, requires_grad=True)
    for images, labels, cols, n in (
        (x, range(12), 5, 15), (x[:3], None, 10, 3), (x.reshape(12, 28, 28), ['a'] * 12, 12, 12),
        (x[:1], torch.tensor([7]), 10, 1), (x.detach().numpy(), np.arange(12), 10, 20), (x[:, :49], None, 4, 12)):
        show_images(images, labels, cols=cols)
        axes = plt.gcf().axes
        assert len(axes) == n and sum(len(a.images) for a in axes) == len(images) and not any(a.axison for a in axes)
        plt.close()
    for bad in (dict(x=x[:, :700]), dict(x=x[:0]), dict(x=x, labels=[1])):
        with pytest.raises(ValueError, match='show_images got'): show_images(**bad)
