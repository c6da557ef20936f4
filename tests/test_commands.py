"The commands as a shell sees them"
import os, re, subprocess, sys
from pathlib import Path
import pytest

bin = Path(sys.executable).parent
root = Path(__file__).resolve().parent.parent

def sh(*args, **env):
    return subprocess.run([bin/args[0], *args[1:]], capture_output=True, text=True, env=os.environ | env, timeout=300)

def test_check_prints_a_table_and_succeeds(tmp_path):
    res = sh('backprop_check', '--rows', '500', '--hidden', '7', '--rounds', '1', '--data', str(root/'data'))
    assert res.returncode == 0, res.stderr
    assert '784-7-1 on 500 MNIST images' in res.stdout
    assert len(re.findall(r'\de[+-]\d\d ok', res.stdout)) == 10   # five gradients, two ways
    assert 'All five gradients agree' in res.stdout

def test_check_help_names_every_option():
    res = sh('backprop_check', '--help')
    assert res.returncode == 0
    for o in '--device --hidden --rows --rounds --seed --data'.split(): assert o in res.stdout

@pytest.mark.parametrize('args,part', [
    (['--rows', '0'], '--rows must be from 1 to 50000'), (['--rows', '50001'], '--rows must be from 1 to 50000'),
    (['--hidden', '0'], '--hidden must be at least 1'), (['--device', 'nowhere'], "no device 'nowhere'"),
    (['--data', '/no/such/place'], '/no/such/place'), (['--rows', 'many'], 'invalid int value'), (['--nonsense'], 'unrecognized')])
def test_check_refuses_in_a_sentence(args, part):
    res = sh('backprop_check', *args)
    assert res.returncode == 2
    assert part in res.stderr and 'Traceback' not in res.stderr

def test_check_fails_where_a_gradient_is_off(tmp_path):
    (tmp_path/'wrong.py').write_text(
        'import sys; from backprop_nb import modules; from backprop_nb.commands import check\n'
        'modules.relu_grad = lambda x, out: setattr(x, "g", out.g)\n'
        'sys.argv = ["backprop_check", "--rows", "50", "--rounds", "1"]; check.main()')
    res = subprocess.run([sys.executable, tmp_path/'wrong.py'], capture_output=True, text=True)
    assert res.returncode == 1
    assert res.stdout.count('OFF') == 3 and 'x.g by layers is off' in res.stdout

def test_readme_is_checked(tmp_path):
    import shutil
    pictures = [f'pictures/{p.name}' for p in (root/'pictures').iterdir()]
    for p in 'settings.ini', 'README.md', 'tools/readme.py', 'nbs/index.ipynb', *pictures:
        (tmp_path/p).parent.mkdir(exist_ok=True)
        shutil.copy(root/p, tmp_path/p)
    for p in (root/'nbs').rglob('*.ipynb'):   # what is there can be linked
        (to := tmp_path/p.relative_to(root)).parent.mkdir(exist_ok=True)
        to.touch()
    run = lambda *a: subprocess.run([sys.executable, tmp_path/'tools/readme.py', *a], capture_output=True, text=True)
    assert run('--check').returncode == 0
    with open(tmp_path/'README.md', 'a') as f: f.write('edited by hand\n')
    (tmp_path/pictures[0]).unlink()
    (tmp_path/'pictures/old.svg').write_text('no longer shown')
    said = run('--check').stderr
    for name in 'README.md', Path(pictures[0]).name, 'old.svg', 'not in sync': assert name in said, said
    run()
    for p in 'README.md', *pictures: assert (tmp_path/p).read_text() == (root/p).read_text()
    assert not (tmp_path/'pictures/old.svg').exists() and run('--check').returncode == 0
    for name in pictures: assert f'/raw/main/{name})' in (root/'README.md').read_text()

def test_readme_links_notebooks():
    sys.path.insert(0, str(root/'tools'))
    from readme import linked, names
    assert linked('see `core/guards`, `core/none` and [`core/guards`](x)') == \
        f"see [`core/guards`]({names['nbs']}/core/guards.ipynb), `core/none` and [`core/guards`](x)"

def test_planted_mistakes_still_find_their_places():   # planting them takes long: python tools/plant_bugs.py
    sys.path.insert(0, str(root/'tools'))
    from plant_bugs import bugs, planted
    for nb, _, true, wrong in bugs: assert planted(nb, true, wrong)
