"""Right layers: none may be called wrong. PyTorch's own modules, and layers of many kinds drawn at random; `bench/checker.py` prints
tables of both."""
import inspect, warnings
from collections import Counter
import pytest, torch
from backprop_nb.check.layer import check_layer
from cases.independent import as_ref, compare, is_float
from cases.random_layers import draw, kinds
from cases.torch_modules import infos, samples

night = pytest.mark.nightly
limit = {'budget': 20} if 'budget' in inspect.signature(check_layer).parameters else {}
counts = {}   # of verdicts, by module or kind

def verdict(rep):
    "right, in part, not checked or WRONG"
    said = getattr(rep, 'verdict', None) or ('not checked' if rep.problem else 'right' if rep.ok else 'WRONG')
    if said == 'right' and any(o.compared < o.of for o in getattr(rep, 'coverage', {}).values()): said = 'in part'
    return said

def check(name, args):
    "The verdict and the report; counted"
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter('ignore')
        try: rep = check_layer(*args, **limit); said = verdict(rep)
        except Exception as e: rep,said = f'{type(e).__name__}: {e}','raised'
    counts.setdefault(name, Counter())[said] += 1
    return said,rep

def table(title):
    "Verdicts by name, and their sums"
    every,heads = sum(counts.values(), Counter()),('right', 'in part', 'not checked', 'WRONG', 'raised')
    rows = [(title, *heads)] + [(n, *[c[h] or '' for h in heads]) for n,c in sorted(counts.items())] + [('all', *[every[h] for h in heads])]
    return '\n'.join(f'{n:32}' + ''.join(f'{h!s:>13}' for h in hs) for n,*hs in rows)

@pytest.fixture(scope='module', autouse=True)
def shown():
    "What was counted, at the end: pytest -s shows it"
    yield
    print('\n' + table('verdicts'))

def modules(name, most, modes=((torch.float64, True), (torch.float32, False), (torch.float64, False), (torch.float32, True))):
    "What is said of samples of a module, where it is not right"
    return [(dtype, training, said, str(rep)) for dtype,training in modes for args in samples(name, dtype, training, most)
            for said,rep in [check(name, args)] if said in ('WRONG', 'raised')]

def shown_as(bad): return '\n\n'.join(f'{len(bad)} of them' if i == 0 else '\n'.join(map(str, o)) for i,o in enumerate([None, *bad[:3]]))

slow = 'Transformer', 'MultiheadAttention', '3d', 'LSTM', 'GRU', 'CTC', 'Lazy'
@pytest.mark.parametrize('name', [o for o in infos if not any(s in o for s in slow)][::2])
def test_module(name):
    bad = modules(name, 1, [(torch.float64, True)])
    assert not bad, shown_as(bad)

@night
@pytest.mark.parametrize('name', infos)
def test_module_all(name):
    bad = modules(name, 6)
    assert not bad, shown_as(bad)

def drawn(seeds):
    bad,share = [],Counter()
    for seed in seeds:
        name,*args = draw(seed)
        said,rep = check(name, args)
        share[said] += 1
        if said in ('WRONG', 'raised'): bad.append((seed, name, [a.dtype for a in args if is_float(a)], said, str(rep)))
    assert not bad, shown_as(bad)
    assert share['right'] + share['in part'] >= .9*sum(share.values()), share

@pytest.mark.parametrize('part', range(3))
def test_drawn(part): drawn(range(50*part, 50*part + 50))

@night
@pytest.mark.parametrize('part', range(30))
def test_drawn_all(part): drawn(range(1000 + 100*part, 1100 + 100*part))

@pytest.mark.parametrize('seeds', [range(len(kinds)), pytest.param(range(1000, 2000), marks=night)], ids=['day', 'night'])
def test_drawn_layers_are_right(seeds):
    "As differences in plain loops say, where layers are smooth enough and draw no numbers"
    torch.set_default_dtype(torch.float64)
    try:
        for seed in seeds:
            name,*args = draw(seed, dtype=torch.float64, scale=1., way=('normal', 'zeros', 'dead')[seed % 3])
            if name in ('nn_rrelu', 'nn_dropout', 'nn_sequence_lstm', 'sort'): continue
            ref = as_ref(args)
            assert compare(ref, ref.values, [True]*(len(args) - 1), lambda g: g), (seed, name)
    finally: torch.set_default_dtype(torch.float32)

def test_many_kinds(): assert len(kinds) >= 50
