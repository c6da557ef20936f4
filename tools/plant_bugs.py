"""Plant classic mistakes in the exported code, one at a time, and see whether the notebook that defines them turns red.

    python tools/plant_bugs.py [PART ...]     only the mistakes whose description holds one of the parts

The notebooks are not touched: each mistake is planted in a copy of the repository. A mistake that nobody notices is printed, and
makes the exit status 1.
"""
import json, os, shutil, subprocess, sys, tempfile
from pathlib import Path
from tqdm import tqdm

root = Path(__file__).resolve().parent.parent
guards, compare, tree, labels = 'core/guards', 'core/compare', 'core/tree', 'core/labels'
found, modules, losses, optims, training = '01_foundations', '02_modules', '05_losses', '06_optim', '07_training'
relu_bwd, w_grad, b_grad = 'def bwd(self, out, x): relu_grad(x, out)\n\nReLu', '_rows(x).T @ _rows(out.g) ', 'self.b.g = _rows(out.g).sum(0) '

# notebook, what is planted, the true line, the line with the mistake
bugs = [
    (guards, 'shapes: defaults lost', 'guarded.__defaults__ = f.__defaults__', 'pass'),
    (guards, 'shapes: never asks', 'if not ok: _ask({args})', 'pass'),
    (guards, 'shapes: no sizes', 'if was == size: continue', 'continue'),
    (guards, 'shapes: other letters after a star', "elif star: s = (*s[:k-1], s[k-1:])", "elif star: s = (*s[:1], s[1:])"),
    (compare, 'test_grad: no shape', "for what in 'shape','dtype','device'", "for what in 'dtype','device'"),
    (compare, 'test_grad: no dtype', "for what in 'shape','dtype','device'", "for what in 'shape','device'"),
    (compare, 'test_grad: not finite', "    _finite(name, got)\n", ''),
    (compare, 'test_grad: empty', "    _need(got.numel(), f'{name} is empty: nothing was checked')\n", ''),
    (compare, 'test_grad: absolute', 'err = rel_err(got, want)', 'err = norm(got - want)'),
    (compare, 'rel_err: in the dtype of what is compared', 't.detach(), dtype=torch.float64)', 't.detach())'),
    (found, 'lin: no bias', 'return x@w + b', 'return x@w'),
    (found, 'relu: wrong side', 'return x.clamp_min(0.)', 'return x.clamp_max(0.)'),
    (found, 'mse: sum for mean', 'targ)**2).mean()', 'targ)**2).sum()'),
    (found, 'mse_grad: no factor 2', 'out.g = 2*(out', 'out.g = (out'),
    (found, 'mse_grad: no 1/n', 'targ[:,None]) / len(targ)', 'targ[:,None])'),
    (found, 'mse_grad: wrong sign', '2*(out - targ[:,None])', '2*(targ[:,None] - out)'),
    (found, 'mse_grad: pass', '    out.g = 2*(out - targ[:,None]) / len(targ)', '    pass'),
    (found, 'relu_grad: no mask', 'x.g = out.g * (x > 0)', 'x.g = out.g'),
    (found, 'relu_grad: mask inverted', 'x.g = out.g * (x > 0)', 'x.g = out.g * (x <= 0)'),
    (found, 'relu_grad: incoming gradient ignored', 'x.g = out.g * (x > 0)', 'x.g = (x > 0).to(x.dtype)'),
    (found, 'relu_grad: output for its sign', 'x.g = out.g * (x > 0)', 'x.g = out.g * out'),
    (found, 'relu_grad: passes at 0', 'x.g = out.g * (x > 0)', 'x.g = out.g * (x >= 0)'),
    (found, 'relu_grad: incoming gradient spoilt', 'x.g = out.g * (x > 0)', 'x.g = out.g.mul_(2) * (x > 0)'),
    (found, 'relu_grad: pass', '    x.g = out.g * (x > 0)', '    pass'),
    (found, 'lin_grad: x.g not transposed', 'x.g = out.g @ w.T', 'x.g = out.g @ w.reshape(w.shape[1], -1)'),
    (found, 'lin_grad: x.g wrong sign', 'x.g = out.g @ w.T', 'x.g = -out.g @ w.T'),
    (found, 'lin_grad: w.g mean for sum', 'w.g = x.T @ out.g', 'w.g = x.T @ out.g / len(x)'),
    (found, 'lin_grad: w.g one row forgotten', 'w.g = x.T @ out.g', 'w.g = x[1:].T @ out.g[1:]'),
    (found, 'lin_grad: w.g transposed', 'w.g = x.T @ out.g', 'w.g = out.g.T @ x'),
    (found, 'lin_grad: b.g mean for sum', 'b.g = out.g.sum(0)', 'b.g = out.g.mean(0)'),
    (found, 'lin_grad: b.g without the sum', 'b.g = out.g.sum(0)', 'b.g = out.g'),
    (found, 'lin_grad: b.g doubled', 'b.g = out.g.sum(0)', 'b.g = 2*out.g.sum(0)'),
    (found, 'lin_grad: b.g keeps an axis', 'b.g = out.g.sum(0)', 'b.g = out.g.sum(0, keepdim=True)'),
    (found, 'lin_grad: incoming gradient spoilt', 'w.g = x.T @ out.g', 'w.g = x.T @ out.g.mul_(2)'),
    (found, 'forward_and_backward: mask of the wrong layer', 'relu_grad(l1, l2)', 'l1.g = l2.g'),
    (found, 'forward_and_backward: w2 for w1', 'lin_grad(x, l1, w1, b1)', 'lin_grad(x, l1, -w1, b1)'),
    (tree, 'Tree: no child in a dict', '    elif isinstance(v, dict):\n        for k,o in v.items(): yield from found_in(o, f\'{path}.{k}\')\n', ''),
    (tree, 'Tree: no child in a list', '    elif isinstance(v, (list, tuple)):', '    elif isinstance(v, tuple):'),
    (tree, 'Tree: the same layer twice', '        if id(m) in seen: _refuse_twice(self, m, seen[id(m)], path)\n', ''),
    (tree, 'Tree: the same parameter under two names', 'if was[:2] != (path, _join(path, k)): _check_tie(', 'if False: _check_tie('),
    (tree, 'Tree: a tied parameter twice', 'return [(name, t) for _,name,t in first.values()]', 'return [(_join(path, k), t) for path,m,k,t in self.named_tensors() if not m.is_buffer(k, t)]'),
    (tree, 'Tree: buffers learned', "return bool(self.buffer_names) and name.split('.')[0] in self.buffer_names", 'return False'),
    (tree, 'Tree.train: the root alone', 'for m in self.modules(): m.training = on', 'self.training = on'),
    (tree, 'state_dict: not transposed', 't.detach().T.contiguous() if flip else t.detach()', 't.detach()'),
    (modules, 'Linear.bwd: no input gradient', 'if self.x_grad: x.g = out.g @ self.w.T ', 'pass '),
    (modules, 'Linear.bwd: input gradient always', 'if self.x_grad: x.g', 'x.g'),
    (modules, 'Linear.bwd: leading axes forgotten', w_grad, 'x.mT @ out.g '),
    (modules, 'Linear.bwd: w.g mean for sum', w_grad, '_rows(x).T @ _rows(out.g) / len(x) '),
    (modules, 'Linear.bwd: of a copy of the weights', 'self.w.g = ', 'self.w.clone().g = '),
    (modules, 'Linear.bwd: bias doubled', b_grad, 'self.b.g = 2*_rows(out.g).sum(0) '),
    (modules, 'Linear.bwd: bias summed over one axis', b_grad, 'self.b.g = out.g.sum(0) '),
    (modules, 'ReLU.bwd: pass', relu_bwd, 'def bwd(self, out, x): pass\n\nReLu'),
    (modules, 'ReLU.bwd: no mask', relu_bwd, 'def bwd(self, out, x): x.g = out.g\n\nReLu'),
    (modules, 'ReLU.bwd: wrong sign', relu_bwd, 'def bwd(self, out, x): relu_grad(x, out); x.g = -x.g\n\nReLu'),
    (modules, 'ReLU.bwd: incoming gradient spoilt', relu_bwd, 'def bwd(self, out, x): out.g *= 2; relu_grad(x, out)\n\nReLu'),
    (modules, 'MSE.bwd: pass', '        mse_grad(out, targ)\n', '        pass\n'),
    (modules, 'MSE.bwd: halved', '        mse_grad(out, targ)\n', '        mse_grad(out, targ); out.g /= 2\n'),
    (modules, 'MSE.bwd: not averaged', '        mse_grad(out, targ)\n', '        mse_grad(out, targ); out.g *= len(out)\n'),
    (modules, 'MSE.bwd: loss.g ignored', "if hasattr(loss, 'g'): out.g = out.g * loss.g", 'pass'),
    (modules, 'Sequential.bwd: forwards', 'for l in reversed(self.layers): g = l.backward(g)', 'for l in self.layers: g = l.backward(g)'),
    (modules, 'Sequential.bwd: last layer forgotten', 'for l in reversed(self.layers): g = l.backward(g)', 'for l in reversed(self.layers[1:]): g = l.backward(g)'),
    (modules, 'Model.bwd: the loss forgotten', 'self.layers.backward(self.loss.backward())', 'self.layers.backward(self.layers.memory.out)'),
    (modules, 'Residual.bwd: the skip path forgotten', 'x.g = self.f.backward(out.g) + out.g', 'x.g = self.f.backward(out.g)'),
    (modules, 'Residual.bwd: a branch overwritten', 'x.g = self.f.backward(out.g) + out.g', 'x.g = self.f.backward(out.g); x.g = out.g'),
    (modules, 'Module.backward: a tied parameter overwritten', '        if old is not None and id(p) in done: _add(self, p, old)\n', ''),
    (modules, 'Module.backward: memory kept', "    mine['memory'] = None\n    return getattr", '    return getattr'),
    (modules, 'Module: records a graph', '        with torch.no_grad(): return f(*args)\n', '        return f(*args)\n'),
    (modules, 'Module: a second call before its backward', 'if seen and not _now.plain:', 'if False:'),
    (modules, 'Module: a tensor kept beside `saved`', "name not in ('saved', *self.buffer_names) and", 'False and'),
    (modules, 'forward_only: remembers', 'was,_now.plain = _now.plain,True', 'was,_now.plain = _now.plain,_now.plain'),
    (labels, 'labels: one too many', 'if lo < 0 or hi >= k:', 'if lo < 0 or hi > k:'),
    (labels, 'labels: fewer than rows', 'if targ.shape != z.shape[:-1]:', 'if False:'),
    (losses, 'softmax: no maximum taken off', 'e = (z - z.amax(dim, keepdim=True)).exp()', 'e = z.exp()'),
    (losses, 'log_softmax: no maximum taken off', '    z = z - z.amax(dim, keepdim=True)\n    return z - z.exp()', '    return z - z.exp()'),
    (losses, 'softmax_grad: P alone', 'z.g = out * (out.g - (out.g*out).sum(dim, keepdim=True))', 'z.g = out * out.g'),
    (losses, 'cross-entropy: P for P - T', 'return (p - t) * (g[...,None]', 'return p * (g[...,None]'),
    (losses, 'cross-entropy: not averaged', "return g/count if reduction == 'mean' else g", 'return g'),
    (losses, 'cross-entropy: averaged over rows and positions apart', "out, targ.numel(), reduction)\n    return (p", 'out, len(targ), reduction)\n    return (p'),
    (losses, 'cross-entropy: smooth gradient, sharp loss', 'return (1 - eps)*rows - eps*logp.mean(-1) if eps else rows', 'return rows'),
    (losses, 'cross-entropy: sharp gradient, smooth loss', '    if eps: t = (1 - eps)*t + eps/p.shape[-1]\n', ''),
    (losses, 'CrossEntropyLoss: logarithms for probabilities', 'p = self.saved.exp()', 'p = self.saved'),
    (optims, 'Optimizer.step: gradients not asked for', '    if not fit:\n', '    if False:\n'),
    (optims, 'Optimizer.step: any gradient fits', '== self.sigs', 'is not None'),
    (optims, 'Optimizer.step: records a graph', '        with torch.no_grad(): return self.step()', '        pass'),
    (optims, 'SGD: dampening forgotten', 'alpha=1 if self.t == 1 else 1 - self.dampening', 'alpha=1'),
    (optims, 'Adam: mean square not corrected', '.div_((1 - b2**self.t)**.5)', ''),
    (optims, 'Adam: eps inside the correction', '.div_((1 - b2**self.t)**.5).add_(self.eps)', '.add_(self.eps).div_((1 - b2**self.t)**.5)'),
    (optims, 'AdamW: decay without lr', 'p.mul_(1 - self.lr*self.weight_decay)', 'p.mul_(1 - self.weight_decay)'),
    (training, 'kaiming: 1/d for 2/d', '(2/d)**.5', '(1/d)**.5'),
    (training, 'mlp: gradient of the images', 'x_grad=i > 0', 'x_grad=True'),
    (training, 'batches: last one dropped', '.to(x.device).split(bs):', '.to(x.device)[:len(x)//bs*bs].split(bs):'),
    (training, 'batches: labels in another order', 'y.index_select(0, rows) ', 'y.index_select(0, rows.flip(0)) '),
    (training, 'Learner.step: checked after the step', "    self.check(loss, x)   # before anything is changed by it\n    self.opt.zero_grad()  # so that no gradient is used twice\n    self.net.backward(self.loss.backward())\n    self.opt.step()\n",
     "    self.opt.zero_grad()\n    self.net.backward(self.loss.backward())\n    self.opt.step()\n    self.check(loss, x)\n"),
    (training, 'Learner.evaluate: last batch as heavy as the others', "total['accuracy'] += accuracy(out, yb)*len(xb)/len(x)", "total['accuracy'] += accuracy(out, yb)*bs/len(x)"),
    (training, 'Learner.epoch: still in eval mode', '    self.net.train()\n', ''),
    (training, 'evaluation: in training mode', '    net.eval()\n', ''),
]

def planted(nb, true, wrong):
    "The text of `nb` with `wrong` in the place of `true`"
    whole = json.loads((root/'nbs'/f'{nb}.ipynb').read_text(encoding='utf-8'))
    hits = [c for c in whole['cells'] if c['cell_type'] == 'code' and true in ''.join(c['source']) and '#| export' in ''.join(c['source'])]
    if len(hits) != 1: sys.exit(f'{nb}: {true!r} stands in {len(hits)} exported cells, and should stand in one')
    hits[0]['source'] = ''.join(hits[0]['source']).replace(true, wrong).splitlines(True)
    return json.dumps(whole)

def red(folder, nb, text):
    "Does `nb` fail if `text` is in its place? The text of the failure, or nothing"
    path = folder/'nbs'/f'{nb}.ipynb'
    path.write_text(text, encoding='utf-8')
    env = os.environ | dict(PYTHONPATH=str(folder))
    res = subprocess.run([sys.executable, '-c', f'from nbdev.test import nbdev_test; nbdev_test("{path.relative_to(folder).as_posix()}")'],
                         cwd=folder, env=env, capture_output=True, text=True)
    shutil.copy(root/path.relative_to(folder), path)
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
            tqdm.write(f"{'caught' if said else 'MISSED':8}{what:58} {(said or '').strip()[:110]}")
    if missed: print('missed:', ', '.join(missed))
    print(f'{len(chosen) - len(missed)} passed, {len(missed)} failed')
    sys.exit(bool(missed))

if __name__ == '__main__': main()
