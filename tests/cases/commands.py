"Files for the command check_layer: (name, text, arguments, exit status, or those that will do, what is in the one line that it prints)"
right = '''
import torch
class Loss:
    def forward(self, x, yy): self.d = x - yy; return (self.d**2).sum()
    def backward(self, g): return 2*g*self.d
def ok(): return Loss(), torch.randn(4, 3), torch.randn(4, 3)
'''
dataclass = 'from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Options:\n    k: int = 2\n'
commands = [
    ('exits_with_0', 'import sys\nsys.exit(0)\n', ['{}:ok'], 3, ('exit',)),
    ('exits_with_text', "import sys\nsys.exit('x')\n", ['{}:ok'], 3, ('exit',)),
    ('exits_in_the_function', 'import sys\ndef ok(): sys.exit(0)\n', ['{}:ok'], 3, ('exit',)),
    ('exits_in_the_layer', right.replace('return 2*g*self.d', 'raise SystemExit(0)'), ['{}:ok', '--data', 'yy'], (1, 2), None),
    ('exits_in_forward', right.replace('self.d = x - yy', 'self.d = x - yy; exit(0)'), ['{}:ok', '--data', 'yy'], 2, ()),
    ('dataclass', dataclass + right, ['{}:ok', '--data', 'yy'], 0, None),
    ('dataclass_of_its_own_type', dataclass.replace('k: int = 2', 'k: Options | None = None') + right, ['{}:ok', '--data', 'yy'], 0, None),
    ('data_by_name', right, ['{}:ok', '--data', 'yy'], 0, None),
    ('data_by_number', right, ['{}:ok', '--data', '1'], 0, None),
    ('data_slip', right, ['{}:ok', '--data', 'y'], 3, ('yy',)),
    ('data_number_too_large', right, ['{}:ok', '--data', '5'], 3, ('5',)),
    ('import_error', '\n\nimport torch\nx = no_such_name\n', ['{}:ok'], 3, ('line 4',)),
    ('syntax_error', 'import torch\ndef f(:\n', ['{}:ok'], 3, ('line 2',)),
    ('missing_package', 'import torch\n\nimport no_such_package_at_all\n', ['{}:ok'], 3, ('line 3', 'no_such_package_at_all')),
    ('function_raises', right + 'def bad():\n    return 1/0\n', ['{}:bad'], 3, ('line',)),
    ('no_name_after_colon', right, ['{}:'], 3, ('name',)),
    ('comma_without_second', right, ['{}:ok,'], 3, ()),
    ('wrong_rule', right.replace('2*g*self.d', 'g*self.d'), ['{}:ok', '--data', 'yy'], 1, None)]
