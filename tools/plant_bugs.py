"""Plant classic mistakes in the exported code, one at a time, and see whether the notebook that defines them turns red.

    python tools/plant_bugs.py [PART ...]     only the mistakes whose description holds one of the parts

The notebooks are not touched: each mistake is planted in a copy of the repository. A mistake that nobody notices is printed, and
makes the exit status 1.
"""
import json, os, shutil, subprocess, sys, tempfile
from pathlib import Path
from tqdm import tqdm

root = Path(__file__).resolve().parent.parent
found, modules = '01_foundations.ipynb', '02_modules.ipynb'
losses, optims, training = '05_losses.ipynb', '06_optim.ipynb', '07_training.ipynb'

# notebook, what is planted, the true line, the line with the mistake
bugs = [
    (found, 'lin: no bias', 'return x@w + b', 'return x@w'),
    (found, 'relu: wrong side', 'return x.clamp_min(0.)', 'return x.clamp_max(0.)'),
    (found, 'mse: sum for mean', 'targ)**2).mean()', 'targ)**2).sum()'),
    (found, 'mse_grad: no factor 2', 'out.g = 2*(out', 'out.g = (out'),
    (found, 'mse_grad: no 1/n', 'targ[:,None]) / len(targ)', 'targ[:,None])'),
    (found, 'mse_grad: wrong sign', '2*(out - targ[:,None])', '2*(targ[:,None] - out)'),
    (found, 'mse_grad: pass', '    out.g = 2*(out - targ[:,None]) / len(targ)', '    pass'),
    (found, 'relu_grad: no mask', 'x.g = out.sign().mul_(out.g)', 'x.g = out.g'),
    (found, 'relu_grad: mask inverted', 'x.g = out.sign().mul_(out.g)', 'x.g = out.g * (1 - out.sign())'),
    (found, 'relu_grad: incoming gradient ignored', 'x.g = out.sign().mul_(out.g)', 'x.g = out.sign()'),
    (found, 'relu_grad: output for its sign', 'x.g = out.sign().mul_(out.g)', 'x.g = out.g * out'),
    (found, 'relu_grad: passes at 0', 'x.g = out.sign().mul_(out.g)', 'x.g = out.g * (x >= 0)'),
    (found, 'relu_grad: incoming gradient spoilt', 'x.g = out.sign().mul_(out.g)', 'x.g = out.g.mul_(2) * out.sign()'),
    (found, 'relu_grad: pass', '    x.g = out.sign().mul_(out.g)', '    pass'),
    (found, 'lin_grad: x.g not transposed', 'x.g = out.g @ w.T', 'x.g = out.g @ w.reshape(w.shape[1], -1)'),
    (found, 'lin_grad: x.g wrong sign', 'x.g = out.g @ w.T', 'x.g = -out.g @ w.T'),
    (found, 'lin_grad: w.g mean for sum', 'w.g = (out.g.T @ x).T', 'w.g = x.T @ out.g / len(x)'),
    (found, 'lin_grad: w.g one row forgotten', 'w.g = (out.g.T @ x).T', 'w.g = x[1:].T @ out.g[1:]'),
    (found, 'lin_grad: w.g transposed', 'w.g = (out.g.T @ x).T', 'w.g = out.g.T @ x'),
    (found, 'lin_grad: b.g mean for sum', 'b.g = out.g.sum(0)', 'b.g = out.g.mean(0)'),
    (found, 'lin_grad: b.g without the sum', 'b.g = out.g.sum(0)', 'b.g = out.g'),
    (found, 'lin_grad: b.g doubled', 'b.g = out.g.sum(0)', 'b.g = 2*out.g.sum(0)'),
    (found, 'lin_grad: b.g keeps an axis', 'b.g = out.g.sum(0)', 'b.g = out.g.sum(0, keepdim=True)'),
    (found, 'lin_grad: incoming gradient spoilt', 'w.g = (out.g.T @ x).T ', 'w.g = (out.g.mul_(2).T @ x).T '),
    (found, 'shapes: defaults lost', 'guarded.__defaults__ = f.__defaults__', 'pass'),
    (found, 'shapes: never asks', 'if not ok: _ask({args})', 'pass'),
    (found, 'forward_and_backward: mask of the wrong layer', 'relu_grad(l1, l2)', 'l1.g = l2.g'),
    (found, 'forward_and_backward: w2 for w1', 'lin_grad(x, l1, w1, b1)', 'lin_grad(x, l1, -w1, b1)'),
    (found, 'test_grad: no shape', "for what in 'shape','dtype','device'", "for what in 'dtype','device'"),
    (found, 'test_grad: no dtype', "for what in 'shape','dtype','device'", "for what in 'shape','device'"),
    (found, 'test_grad: not finite', "    _finite(name, got)\n", ''),
    (found, 'test_grad: empty', "    _need(got.numel(), f'{name} is empty: nothing was checked')\n", ''),
    (found, 'test_grad: absolute', 'err = rel_err(got, want)', 'err = _norm(got - want)'),
    (found, 'shapes: no sizes', 'if was == size: continue', 'continue'),
    (modules, 'Linear.bwd: pass', 'def bwd(self, out, x): lin_grad(x, out, self.w, self.b, self.x_grad)', 'def bwd(self, out, x): pass'),
    (modules, 'Linear.bwd: no input gradient', 'lin_grad(x, out, self.w, self.b, self.x_grad)', 'lin_grad(x, out, self.w, self.b, False)'),
    (modules, 'Linear.bwd: input gradient always', 'lin_grad(x, out, self.w, self.b, self.x_grad)', 'lin_grad(x, out, self.w, self.b)'),
    (modules, 'Linear.bwd: of a copy of the weights', 'lin_grad(x, out, self.w, self.b, self.x_grad)', 'lin_grad(x, out, self.w.clone(), self.b, self.x_grad)'),
    (modules, 'Linear.bwd: bias doubled', 'lin_grad(x, out, self.w, self.b, self.x_grad)',
     'lin_grad(x, out, self.w, self.b, self.x_grad); self.b.g = 2*self.b.g'),
    (modules, 'ReLU.bwd: pass', 'def bwd(self, out, x): relu_grad(x, out)\n\nReLu', 'def bwd(self, out, x): pass\n\nReLu'),
    (modules, 'ReLU.bwd: no mask', 'def bwd(self, out, x): relu_grad(x, out)\n\nReLu', 'def bwd(self, out, x): x.g = out.g\n\nReLu'),
    (modules, 'ReLU.bwd: wrong sign', 'def bwd(self, out, x): relu_grad(x, out)\n\nReLu', 'def bwd(self, out, x): relu_grad(x, out); x.g = -x.g\n\nReLu'),
    (modules, 'ReLU.bwd: incoming gradient spoilt', 'def bwd(self, out, x): relu_grad(x, out)\n\nReLu', 'def bwd(self, out, x): out.g *= 2; relu_grad(x, out)\n\nReLu'),
    (modules, 'MSE.bwd: pass', '        mse_grad(out, targ)\n', '        pass\n'),
    (modules, 'MSE.bwd: halved', '        mse_grad(out, targ)\n', '        mse_grad(out, targ); out.g /= 2\n'),
    (modules, 'MSE.bwd: not averaged', '        mse_grad(out, targ)\n', '        mse_grad(out, targ); out.g *= len(out)\n'),
    (modules, 'MSE.bwd: loss.g ignored', "if hasattr(loss, 'g'): out.g *= loss.g", 'pass'),
    (modules, 'Sequential.bwd: forwards', 'for l in reversed(self.layers): l.backward()', 'for l in self.layers: l.backward()'),
    (modules, 'Sequential.bwd: last layer forgotten', 'for l in reversed(self.layers): l.backward()', 'for l in reversed(self.layers[1:]): l.backward()'),
    (modules, 'Model.backward: loss forgotten', '        self.loss.backward()\n', ''),
    (modules, 'Module.backward: records a graph', '''        with torch.no_grad(): return self.backward()''', '        pass'),
    (modules, 'Module: a call records a graph', '''            with torch.no_grad(): return self(*args)''', '            pass'),
    (modules, 'Module.backward: memory kept', '    self.bwd(self.out, *self.args)\n    self.args = self.out = None', '    self.bwd(self.out, *self.args)'),
    (losses, 'cross-entropy: no maximum taken off', '    z = z - z.amax(1, keepdim=True)\n    asked', '    z = z + 0.\n    asked'),
    (losses, 'cross-entropy: labels out of range', '    try: return z.gather(1, targ)\n    except RuntimeError:\n        _classes(z, targ)\n        raise',
     '    return z.gather(1, targ)'),
    (losses, 'cross-entropy: fewer labels than rows', '    if targ.shape != z.shape[:1]:', '    if False:'),
    (losses, 'cross-entropy: smooth gradient, sharp loss', '    if eps: asked = (1 - eps)*asked + eps*z.mean(1, keepdim=True)\n', ''),
    (losses, 'CrossEntropyLoss.bwd: P not divided by its sums', '_p_minus_t(e.div_(s), g, targ, eps)', '_p_minus_t(e, g, targ, eps)'),
    (losses, 'CrossEntropyLoss.bwd: memory kept', "out.__dict__.pop('kept')", 'out.kept'),
    (losses, 'CrossEntropyLoss.bwd: memory used up by a refusal', "        g = _row_grads(out, len(z), reduction)\n        e,s",
     "        del out.kept\n        g = _row_grads(out, len(z), reduction)\n        e,s"),
    (optims, 'Optimizer.step: gradients not asked for', '        if not fit:', '        if False:'),
    (optims, 'Optimizer.step: any gradient fits', '== self.sigs', 'is not None'),
    (optims, 'Optimizer.step: records a graph', '            with torch.no_grad(): return self.step()', '            pass'),
    (optims, 'SGD: dampening forgotten', 'alpha=1 if self.t == 1 else 1 - self.dampening', 'alpha=1'),
    (optims, 'Adam: mean square not corrected', '.div_((1 - b2**self.t)**.5)', ''),
    (optims, 'Adam: eps inside the correction', '.div_((1 - b2**self.t)**.5).add_(self.eps)', '.add_(self.eps).div_((1 - b2**self.t)**.5)'),
    (optims, 'AdamW: decay without lr', 'p.mul_(1 - self.lr*self.weight_decay)', 'p.mul_(1 - self.weight_decay)'),
    (training, 'kaiming: 1/d for 2/d', '(2/d)**.5', '(1/d)**.5'),
    (training, 'kaiming: laid out by rows', 'torch.randn(k, d).T', 'torch.randn(d, k)'),
    (training, 'mlp: gradient of the images', 'x_grad=i > 0', 'x_grad=True'),
    (training, 'batches: last one dropped', '.to(x.device).split(bs):', '.to(x.device)[:len(x)//bs*bs].split(bs):'),
    (training, 'batches: labels in another order', 'y.index_select(0, rows) ', 'y.index_select(0, rows.flip(0)) '),
    (training, 'Learner.check: after the step', "        self.check(loss, x)   # before anything is changed by it\n        self.loss.backward()\n        self.net.backward()\n        self.opt.step()\n",
     "        self.loss.backward()\n        self.net.backward()\n        self.opt.step()\n        self.check(loss, x)\n"),
    (training, 'Learner.evaluate: last batch as heavy as the others', "total['accuracy'] += accuracy(out, yb)*len(xb)/len(x)", "total['accuracy'] += accuracy(out, yb)*bs/len(x)"),
]

def planted(nb, true, wrong):
    "The text of `nb` with `wrong` in the place of `true`"
    whole = json.loads((root/'nbs'/nb).read_text(encoding='utf-8'))
    hits = [c for c in whole['cells'] if c['cell_type'] == 'code' and true in ''.join(c['source']) and '#| export' in ''.join(c['source'])]
    if len(hits) != 1: sys.exit(f'{nb}: {true!r} stands in {len(hits)} exported cells, and should stand in one')
    hits[0]['source'] = ''.join(hits[0]['source']).replace(true, wrong).splitlines(True)
    return json.dumps(whole)

def red(folder, nb, text):
    "Does `nb` fail if `text` is in its place? The text of the failure, or nothing"
    path = folder/'nbs'/nb
    path.write_text(text, encoding='utf-8')
    env = os.environ | dict(PYTHONPATH=str(folder))
    res = subprocess.run([sys.executable, '-c', f'from nbdev.test import nbdev_test; nbdev_test("nbs/{nb}")'],
                         cwd=folder, env=env, capture_output=True, text=True)
    shutil.copy(root/'nbs'/nb, path)
    if res.returncode == 0: return None
    return next((l for l in reversed(res.stderr.splitlines()) if 'Error' in l), res.stderr.strip()[-200:])

def main():
    chosen = [b for b in bugs if not sys.argv[1:] or any(p in b[1] for p in sys.argv[1:])]
    texts = [planted(nb, true, wrong) for nb, _, true, wrong in chosen]   # first of all: does each still find its place?
    missed = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)/'copy'
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns('.git', '.venv*', '_docs', 'data'))
        os.symlink(root/'data', folder/'data')
        for (nb, what, *_), text in zip(tqdm(chosen, desc='bugs', disable=None), texts):
            said = red(folder, nb, text)
            if said is None: missed.append(what)
            tqdm.write(f"{'caught' if said else 'MISSED':8}{what:48}{(said or '').strip()[:110]}")
    print(f'{len(chosen) - len(missed)} of {len(chosen)} caught' + (f"; missed: {', '.join(missed)}" if missed else ''))
    sys.exit(bool(missed))

if __name__ == '__main__': main()
