"PyTorch's own modules, each with the arguments with which PyTorch tests it: right by definition"
import copy, sys, types, unittest, warnings
import torch
from torch import nn
try: import expecttest   # noqa: F401
except ImportError: sys.modules['expecttest'] = types.SimpleNamespace(TestCase=unittest.TestCase)   # which is all that is needed of it
from torch.testing._internal.common_modules import module_db   # noqa: E402
torch.backends.__dict__['__allow_nonbracketed_mutation_flag'] = True   # which the import has forbidden to everybody

class With(nn.Module):
    "A module and the keywords with which it is called; `names` are those of its inputs where they have names only"
    def __init__(self, module, kw, names=()): super().__init__(); self.module,self.kw,self.names = module,kw,names
    def forward(self, *ins): return self.module(**dict(zip(self.names, ins)), **self.kw) if self.names else self.module(*ins, **self.kw)

infos = {o.name: o for o in module_db}

def samples(name, dtype, training, most):
    "Up to `most` of its samples, spread over all: (layer, *inputs)"
    info = infos[name]
    torch.manual_seed(0)
    found = info.module_inputs_func(info, device='cpu', dtype=dtype, requires_grad=False, training=training)
    found = [o for o in found if o.forward_input is not None]
    for o in found[::-(-len(found)//most) or 1]:
        args,kw = o.constructor_input.args,o.constructor_input.kwargs
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                layer = info.module_cls(*args, **kw)
        except Exception: continue   # what wants another device
        layer = layer.to(dtype).train(training)
        ins,kw = copy.deepcopy((o.forward_input.args, o.forward_input.kwargs))
        if ins: yield (With(layer, kw) if kw else layer, *ins)
        else: yield (With(layer, {}, [*kw]), *kw.values())
