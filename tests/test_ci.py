"The scripts in .ci, and the tools that they call: what fails is counted, does not keep the rest from running, and gives the exit status"
import json, re, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root/'tools'))
import oldest, run_notebooks

def script(tmp_path, body):
    "The exit status and the output of a script that reads .ci/steps"
    (tmp_path/'script').write_text(f'source "{root}/.ci/steps"\n{body}')
    res = subprocess.run(['bash', tmp_path/'script'], capture_output=True, text=True)
    return res.returncode, res.stdout

def test_what_passes_is_counted(tmp_path):
    status,out = script(tmp_path, '''
        nbs() { printf 'Starting a\\n- Completed a\\n- Completed b\\nSuccess.\\n'; }
        tests() { echo '90 passed, 2 skipped, 30 deselected in 12.34s'; }
        tool() { echo '7 passed, 0 failed'; }
        step notebooks nbs; step tests tests; step tool tool; finished=yes''')
    assert status == 0 and out.splitlines()[-1] == '102 passed, 0 failed', out

def test_a_failure_is_counted_and_the_rest_runs(tmp_path):
    status,out = script(tmp_path, '''
        nbs() { printf -- '- Completed a\\n- Completed b\\n\\nnbdev Tests Failed On The Following Notebooks:\\n=====\\n\\tb.ipynb\\n'; return 1; }
        tests() { echo '3 failed, 90 passed, 1 error in 1.20s (0:00:01)'; return 1; }
        stops() { false; echo 'NOT REACHED'; }
        later() { echo reached; }
        step notebooks nbs; step tests tests; step stops stops; step later later; finished=yes''')
    assert status == 1 and out.splitlines()[-1] == '92 passed, 8 failed', out    # one notebook, four tests, three steps
    assert 'reached' in out and 'NOT REACHED' not in out and re.search(r'FAILED .* stops$', out, re.M)

@pytest.mark.parametrize('end', ['needed /no/such/program', 'kill $$', 'no_such_command_at_all; exit 0', 'unset x; echo "$x"'])
def test_an_early_end_is_a_failure(tmp_path, end):
    status,out = script(tmp_path, f'ok() {{ :; }}; step ok ok\n{end}\nstep late ok; finished=yes')
    assert status == 1 and out.splitlines()[-1] == '1 passed, 1 failed', out

def test_both_scripts_are_sound():
    for o in 'run', 'nightly', 'steps': assert not subprocess.run(['bash', '-n', root/'.ci'/o]).returncode

def test_notebooks_are_found_in_the_rooms(tmp_path):
    for o in '02_b', '01_a', 'core/guards', 'core/.ipynb_checkpoints/guards', '_old/x', 'core/_aside':
        (p := tmp_path/f'{o}.ipynb').parent.mkdir(parents=True, exist_ok=True)
        p.touch()
    assert [p.relative_to(tmp_path).as_posix() for p in run_notebooks.within(tmp_path)] == ['01_a.ipynb', '02_b.ipynb', 'core/guards.ipynb']
    assert run_notebooks.short(root/'nbs/core/guards.ipynb') == 'core/guards.ipynb' and run_notebooks.short(tmp_path/'x') == str(tmp_path/'x')

def test_a_notebook_runs_in_its_own_folder(tmp_path):
    "And what it prints is compared with what is stored"
    nb = dict(cells=[dict(cell_type='code', id='a', metadata={}, execution_count=None, outputs=[], source="from pathlib import Path\nPath.cwd().name")],
              metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python')), nbformat=4, nbformat_minor=5)
    (tmp_path/'room').mkdir()
    path = tmp_path/'room'/'x.ipynb'
    path.write_text(json.dumps(nb))
    def run(*args): return subprocess.run([sys.executable, root/'tools/run_notebooks.py', *args, tmp_path], capture_output=True, text=True, cwd=root)
    assert (res := run('--check')).returncode == 1 and 'prints something else' in res.stdout and res.stdout.splitlines()[-1] == '0 passed, 1 failed'
    assert run().returncode == 0 and "'room'" in path.read_text()
    assert (res := run('--check')).returncode == 0 and res.stdout.splitlines()[-1] == '1 passed, 0 failed'

def test_the_oldest():
    have = ['2.15.0', '2.4.1', '2.10.0', '2.4.0', '2.3.1']
    assert oldest.oldest('2.4', have) == '2.4.0' and oldest.oldest('2.5', have) == '2.10.0' and oldest.oldest('3', have) is None
    assert oldest.parts('2.13.0+cpu') is None
