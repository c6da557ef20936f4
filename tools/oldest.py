"""The oldest versions of what settings.ini asks for that can be had here, one line each, as pip reads them.

    python tools/oldest.py > oldest.txt

A bound for which nothing as old can be had is said on the error stream: it is untried.
"""
import os, re, subprocess, sys
from readme import cfg

def parts(version):
    "`version` as something that can be compared; None for one that is not final"
    return [int(o) for o in version.split('.')] if re.fullmatch(r'[\d.]+', version) else None

def offered(name):
    "The versions of `name` that pip finds ready to be installed by this Python"
    command = [sys.executable, '-m', 'pip', 'index', 'versions', name, '--only-binary', ':all:']
    res = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict(PIP_QUIET='0'))   # quiet, it says nothing at all
    found = re.search(r'Available versions: (.+)', res.stdout)
    if not found: sys.exit(f'pip finds no version of {name}: {res.stderr.strip()[-300:]}')
    return [v for v in found[1].split(', ') if parts(v)]

def oldest(bound, versions):
    "The lowest of `versions` that is not below `bound`"
    return min((v for v in versions if parts(v) >= parts(bound)), key=parts, default=None)

def main():
    for requirement in cfg['requirements'].split():
        name, bound = requirement.split('>=')
        version = oldest(bound, offered(name))
        if version is None: sys.exit(f'{requirement} cannot be had here')
        if parts(version)[:len(parts(bound))] != parts(bound):
            print(f'UNTRIED: {name} {bound} cannot be had here; the oldest is {version}', file=sys.stderr)
        print(f'{name}=={version}')

if __name__ == '__main__': main()
