"""Hand-written backward passes in several styles, right as they stand, and mistakes to be planted in them, one line each.

Each text defines `layer` (a pair of functions, an object, or one function) and `ins()`; a mistake is (which, old, new): the line with `new`
is the wrong one. The mistakes in `aside` were not looked at while the code was made.
"""
rights = {}

# makemore's names: everything a local, dNAME, the loss a mean of cross-entropies over a batch norm; two functions
rights['mlp'] = '''
import torch, torch.nn.functional as F
def forward(Xb, Yb, W1, b1, bngain, bnbias, W2, b2):
    n = Xb.shape[0]
    hprebn = Xb @ W1 + b1
    bnmeani = 1/n*hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)
    bnvar_inv = (bnvar + 1e-5)**-0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), Yb].mean()
    return loss

def backward(Xb, Yb, W1, W2, bngain, hprebn, bndiff, bnvar, bnvar_inv, bnraw, h, logits, counts, counts_sum, counts_sum_inv, probs, logprobs):
    n = Xb.shape[0]
    dlogprobs = torch.zeros_like(logprobs)
    dlogprobs[range(n), Yb] = -1.0/n
    dprobs = (1.0 / probs) * dlogprobs
    dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
    dcounts = counts_sum_inv * dprobs
    dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
    dcounts += torch.ones_like(counts) * dcounts_sum
    dnorm_logits = counts * dcounts
    dlogits = dnorm_logits.clone()
    dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
    dlogits += F.one_hot(logits.max(1).indices, num_classes=logits.shape[1]) * dlogit_maxes
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0)
    dbnbias = dhpreact.sum(0)
    dbnraw = bngain * dhpreact
    dbndiff = bnvar_inv * dbnraw
    dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
    dbnvar = (-0.5*(bnvar + 1e-5)**-1.5) * dbnvar_inv
    dbndiff2 = (1.0/(n-1))*torch.ones_like(bndiff) * dbnvar
    dbndiff += (2*bndiff) * dbndiff2
    dhprebn = dbndiff.clone()
    dbnmeani = (-dbndiff).sum(0)
    dhprebn += 1.0/n * (torch.ones_like(hprebn) * dbnmeani)
    dXb = dhprebn @ W1.T
    dW1 = Xb.T @ dhprebn
    db1 = dhprebn.sum(0)
    return {'Xb': dXb, 'W1': dW1, 'b1': db1, 'bngain': dbngain, 'bnbias': dbnbias, 'W2': dW2, 'b2': db2}

layer = forward, backward
def ins():
    torch.manual_seed(0); r = torch.randn
    return r(8,5), torch.tensor([0,2,1,1,0,2,2,1]), r(5,6), r(6), torch.ones(6), torch.zeros(6), r(6,3), r(3)
'''

# an object that keeps its intermediates, grad_NAME
rights['batchnorm'] = '''
import torch
class BatchNorm:
    def __init__(self, d, eps=1e-5):
        self.gamma, self.beta, self.eps = torch.ones(d), torch.zeros(d), eps
    def forward(self, x):
        n = len(x)
        self.mean = x.sum(0)/n
        self.centred = x - self.mean
        self.var = (self.centred**2).sum(0)/n
        self.std = torch.sqrt(self.var + self.eps)
        self.x_hat = self.centred/self.std
        out = self.gamma*self.x_hat + self.beta
        return out
    def backward(self, grad_out):
        n = len(grad_out)
        self.grad_gamma = (grad_out*self.x_hat).sum(0)
        self.grad_beta = grad_out.sum(0)
        grad_x_hat = grad_out*self.gamma
        grad_std = -(grad_x_hat*self.centred).sum(0)/self.std**2
        grad_var = grad_std/(2*self.std)
        grad_centred = grad_x_hat/self.std + 2*self.centred*grad_var/n
        grad_mean = -grad_centred.sum(0)
        grad_x = grad_centred + grad_mean/n
        return grad_x

def make(): return BatchNorm(4)
layer = make()
def ins(): torch.manual_seed(0); return torch.randn(7,4),
'''

# (out, cache), dL_dNAME, one head of attention with a causal mask
rights['attention'] = '''
import torch, math
def attn_forward(x, Wq, Wk, Wv, Wo):
    T, d = x.shape[-2], Wq.shape[1]
    q = x @ Wq
    k = x @ Wk
    v = x @ Wv
    scores = q @ k.transpose(-2, -1)/math.sqrt(d)
    mask = torch.tril(torch.ones(T, T)) == 0
    masked = scores.masked_fill(mask, float('-inf'))
    att = torch.softmax(masked, dim=-1)
    y = att @ v
    out = y @ Wo
    return out, (x, q, k, v, att, y, mask)

def attn_backward(dL_dout, cache, Wq, Wk, Wv, Wo):
    x, q, k, v, att, y, mask = cache
    scale = 1/math.sqrt(q.shape[-1])
    dL_dWo = torch.einsum('bti,btj->ij', y, dL_dout)
    dL_dy = dL_dout @ Wo.T
    dL_datt = dL_dy @ v.transpose(-2, -1)
    dL_dv = att.transpose(-2, -1) @ dL_dy
    dL_dmasked = att*(dL_datt - (dL_datt*att).sum(-1, keepdim=True))
    dL_dscores = dL_dmasked.masked_fill(mask, 0)
    dL_dq = dL_dscores @ k*scale
    dL_dk = dL_dscores.transpose(-2, -1) @ q*scale
    dL_dWq = torch.einsum('bti,btj->ij', x, dL_dq)
    dL_dWk = torch.einsum('bti,btj->ij', x, dL_dk)
    dL_dWv = torch.einsum('bti,btj->ij', x, dL_dv)
    dL_dx = dL_dq @ Wq.T + dL_dk @ Wk.T + dL_dv @ Wv.T
    return dL_dx, dL_dWq, dL_dWk, dL_dWv, dL_dWo

layer = attn_forward, attn_backward
def ins(): torch.manual_seed(0); r = torch.randn; return r(2,4,5), r(5,3), r(5,3), r(5,3), r(3,5)
'''

# two outputs, names d_NAME, the gates sliced out of one product
rights['lstm'] = '''
import torch
def lstm_cell(x, h_prev, c_prev, Wx, Wh, b):
    H = h_prev.shape[1]
    z = x @ Wx + h_prev @ Wh + b
    a_i, a_f, a_o, a_g = z[:, :H], z[:, H:2*H], z[:, 2*H:3*H], z[:, 3*H:]
    i = torch.sigmoid(a_i)
    f = torch.sigmoid(a_f)
    o = torch.sigmoid(a_o)
    g = torch.tanh(a_g)
    c = f*c_prev + i*g
    tc = torch.tanh(c)
    h = o*tc
    return h, c

def lstm_cell_backward(d_h, d_c, x, h_prev, c_prev, Wx, Wh, i, f, o, g, c, tc):
    d_o = d_h*tc
    d_tc = d_h*o
    d_c = d_c + d_tc*(1 - tc**2)
    d_f = d_c*c_prev
    d_c_prev = d_c*f
    d_i = d_c*g
    d_g = d_c*i
    d_a_i = d_i*i*(1 - i)
    d_a_f = d_f*f*(1 - f)
    d_a_o = d_o*o*(1 - o)
    d_a_g = d_g*(1 - g**2)
    d_z = torch.cat([d_a_i, d_a_f, d_a_o, d_a_g], dim=1)
    d_Wx = x.T @ d_z
    d_Wh = h_prev.T @ d_z
    d_b = d_z.sum(0)
    d_x = d_z @ Wx.T
    d_h_prev = d_z @ Wh.T
    return d_x, d_h_prev, d_c_prev, d_Wx, d_Wh, d_b

layer = lstm_cell, lstm_cell_backward
def ins(): torch.manual_seed(0); r = torch.randn; return r(6,4), r(6,3), r(6,3), r(4,12), r(3,12), r(12)
'''

# NumPy, with steps of its own, a dictionary of gradients
rights['layernorm'] = '''
import numpy as np
def layernorm_forward(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    mu = x.mean(axis=1, keepdims=True)
    xc = x - mu
    sq = xc**2
    var = sq.mean(axis=1, keepdims=True)
    inv = 1/np.sqrt(var + eps)
    xhat = xc*inv
    y = gamma*xhat + beta
    cache = {'xc': xc, 'var': var, 'inv': inv, 'xhat': xhat, 'gamma': gamma}
    return y, cache

def layernorm_backward(dy, cache):
    xc, inv, xhat, gamma = cache['xc'], cache['inv'], cache['xhat'], cache['gamma']
    N, D = dy.shape
    grads = {}
    grads['beta'] = dy.sum(axis=0)
    grads['gamma'] = (dy*xhat).sum(axis=0)
    xhat_grad = dy*gamma
    inv_grad = (xhat_grad*xc).sum(axis=1, keepdims=True)
    var_grad = -0.5*inv**3*inv_grad
    sq_grad = np.ones((N, D))*var_grad/D
    xc_grad = xhat_grad*inv + 2*xc*sq_grad
    mu_grad = -xc_grad.sum(axis=1, keepdims=True)
    grads['x'] = xc_grad + mu_grad/D
    return grads

layer = layernorm_forward, layernorm_backward
def ins(): r = np.random.default_rng(0).standard_normal; return r((6,5)), np.ones(5), np.zeros(5)
'''

# NumPy, a loop over time, as in min-char-rnn: the pre-activation has no name in the forward pass
rights['rnn'] = '''
import numpy as np
def rnn_forward(xs, h0, Wxh, Whh, Why, bh, by):
    hs, ys = {-1: h0}, []
    for t in range(len(xs)):
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t-1] + bh)
        y = Why @ hs[t] + by
        ys.append(y)
    return np.stack(ys), hs

def rnn_backward(dys, hs, xs, Wxh, Whh, Why):
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros((Whh.shape[0], 1)), np.zeros((Why.shape[0], 1))
    dhnext = np.zeros((Whh.shape[0], 1))
    dxs = np.zeros_like(xs)
    for t in reversed(range(len(xs))):
        dy = dys[t]
        dWhy += dy @ hs[t].T
        dby += dy
        dh = Why.T @ dy + dhnext
        dhraw = (1 - hs[t]*hs[t])*dh
        dbh += dhraw
        dWxh += dhraw @ xs[t].T
        dWhh += dhraw @ hs[t-1].T
        dxs[t] = Wxh.T @ dhraw
        dhnext = Whh.T @ dhraw
    return dxs, dhnext, dWxh, dWhh, dWhy, dbh, dby

layer = rnn_forward, rnn_backward
def ins():
    r = np.random.default_rng(0).standard_normal
    return r((4,3,1)), r((5,1)), r((5,3)), r((5,5)), r((2,5)), r((5,1)), r((2,1))
'''

planted = [   # (which, old, new): 20 to work with
    ('mlp', 'dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv', 'dcounts_sum = (counts_sum**-2) * dcounts_sum_inv'),
    ('mlp', 'dhpreact = (1.0 - h**2) * dh', 'dhpreact = dh.clone()'),
    ('mlp', '(1.0/(n-1))*torch.ones_like(bndiff)', '(1.0/n)*torch.ones_like(bndiff)'),
    ('mlp', 'dbndiff += (2*bndiff) * dbndiff2', 'dbndiff = (2*bndiff) * dbndiff2'),
    ('batchnorm', 'grad_std = -(grad_x_hat*self.centred).sum(0)/self.std**2', 'grad_std = -(grad_x_hat*self.centred).sum(0)/self.std'),
    ('batchnorm', 'grad_x_hat = grad_out*self.gamma', 'grad_x_hat = grad_out'),
    ('batchnorm', '+ 2*self.centred*grad_var/n', '+ self.centred*grad_var/n'),
    ('attention', 'dL_dk = dL_dscores.transpose(-2, -1) @ q*scale', 'dL_dk = dL_dscores.transpose(-2, -1) @ q'),
    ('attention', 'att*(dL_datt - (dL_datt*att).sum(-1, keepdim=True))', 'att*(dL_datt - dL_datt.sum(-1, keepdim=True))'),
    ('attention', 'dL_dx = dL_dq @ Wq.T + dL_dk @ Wk.T + dL_dv @ Wv.T', 'dL_dx = dL_dq @ Wq.T + dL_dv @ Wv.T'),
    ('lstm', 'd_a_f = d_f*f*(1 - f)', 'd_a_f = d_f*f'),
    ('lstm', 'd_c = d_c + d_tc*(1 - tc**2)', 'd_c = d_tc*(1 - tc**2)'),
    ('lstm', 'd_i = d_c*g', 'd_i = d_c*i'),
    ('layernorm', 'var_grad = -0.5*inv**3*inv_grad', 'var_grad = 0.5*inv**3*inv_grad'),
    ('layernorm', 'xc_grad = xhat_grad*inv + 2*xc*sq_grad', 'xc_grad = xhat_grad*inv + 2*xhat*sq_grad'),
    ('layernorm', "grads['x'] = xc_grad + mu_grad/D", "grads['x'] = xc_grad + mu_grad"),
    ('rnn', 'dhraw = (1 - hs[t]*hs[t])*dh', 'dhraw = (1 - hs[t])*dh'),
    ('rnn', 'dhnext = Whh.T @ dhraw', 'dhnext = Whh @ dhraw'),
    ('rnn', 'dWhh += dhraw @ hs[t-1].T', 'dWhh += dhraw @ hs[t].T'),
    ('rnn', 'dh = Why.T @ dy + dhnext', 'dh = Why.T @ dy'),
]
aside = [     # and 10 that are kept aside
    ('mlp', 'dprobs = (1.0 / probs) * dlogprobs', 'dprobs = probs * dlogprobs'),
    ('mlp', 'dbnmeani = (-dbndiff).sum(0)', 'dbnmeani = dbndiff.sum(0)'),
    ('batchnorm', 'grad_var = grad_std/(2*self.std)', 'grad_var = grad_std/self.std'),
    ('batchnorm', 'grad_x = grad_centred + grad_mean/n', 'grad_x = grad_centred'),
    ('attention', 'dL_dscores = dL_dmasked.masked_fill(mask, 0)\n    dL_dq = dL_dscores @ k*scale',
                  'dL_dscores = dL_dmasked.masked_fill(mask, 0)\n    dL_dq = dL_dscores @ q*scale'),
    ('attention', 'dL_dv = att.transpose(-2, -1) @ dL_dy', 'dL_dv = att @ dL_dy'),
    ('lstm', 'd_a_g = d_g*(1 - g**2)', 'd_a_g = d_g*(1 - a_g**2)'),
    ('lstm', '[d_a_i, d_a_f, d_a_o, d_a_g]', '[d_a_f, d_a_i, d_a_o, d_a_g]'),
    ('layernorm', 'inv_grad = (xhat_grad*xc).sum(axis=1, keepdims=True)', 'inv_grad = (xhat_grad*xc).mean(axis=1, keepdims=True)'),
    ('rnn', 'dxs[t] = Wxh.T @ dhraw', 'dxs[t] = Wxh.T @ dh'),
]

# more that are right, each in a style of its own

rights['seed'] = '''
import torch
def lin_grad(inp, out, w, b):
    inp.g = out.g @ w.T
    w.g = inp.T @ out.g
    b.g = out.g.sum(0)
def relu_grad(inp, out): inp.g = (inp > 0).float()*out.g
def forward(x, targ, w1, b1, w2, b2):
    l1 = x @ w1 + b1
    l2 = l1.clamp_min(0)
    out = l2 @ w2 + b2
    loss = (out[:,0] - targ).pow(2).mean()
    return loss
def backward(x, targ, w1, b1, w2, b2, l1, l2, out):
    diff = out[:,0] - targ
    out.g = 2*diff[:,None]/len(x)
    lin_grad(l2, out, w2, b2)
    relu_grad(l1, l2)
    lin_grad(x, l1, w1, b1)
layer = forward, backward
def ins(): torch.manual_seed(0); r = torch.randn; return r(7,5), r(7), r(5,4), r(4), r(4,1), r(1)
'''
rights['short batch norm'] = '''
import numpy as np
def fwd(x, gamma, beta):
    mu = x.mean(0)
    v = x.var(0) + 1e-5
    s = np.sqrt(v)
    xh = (x - mu)/s
    return gamma*xh + beta, (xh, gamma, s)
def bwd(dout, cache):
    xh, gamma, s = cache
    m = len(dout)
    g = dout*gamma
    a = g.mean(0)
    b = (g*xh).mean(0)
    dx = (g - a - xh*b)/s
    return dx, (dout*xh).sum(0), dout.sum(0)
layer = fwd, bwd
def ins(): r = np.random.default_rng(0).standard_normal; return r((7,4)), r(4), r(4)
'''
rights['paths'] = '''
import numpy as np
def fwd(x, gamma, beta):
    N, D = x.shape
    mu = 1./N*np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu ** 2
    var = 1./N*np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + 1e-5)
    ivar = 1./sqrtvar
    xhat = xmu*ivar
    gammax = gamma*xhat
    out = gammax + beta
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var)
def bwd(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgammax = dout
    dgamma = np.sum(dgammax*xhat, axis=0)
    dxhat = dgammax*gamma
    divar = np.sum(dxhat*xmu, axis=0)
    dxmu1 = dxhat*ivar
    dsqrtvar = -1./(sqrtvar**2)*divar
    dvar = .5*1./np.sqrt(var + 1e-5)*dsqrtvar
    dsq = 1./N*np.ones((N,D))*dvar
    dxmu2 = 2*xmu*dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1*np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1./N*np.ones((N,D))*dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta
layer = fwd, bwd
def ins(): r = np.random.default_rng(0).standard_normal; return r((6,4)), r(4), r(4)
'''
rights['one name again and again'] = '''
import torch
class Net:
    def __init__(self):
        r = torch.randn
        self.w1, self.b1, self.w2, self.b2 = r(5,4), r(4), r(4,3), r(3)
    def forward(self, x):
        self.x = x
        x = x @ self.w1 + self.b1
        self.mask = x > 0
        x = x*self.mask
        self.h = x
        x = x @ self.w2 + self.b2
        return x
    def backward(self, g):
        self.dw2, self.db2 = self.h.T @ g, g.sum(0)
        g = g @ self.w2.T
        g = g*self.mask
        self.dw1, self.db1 = self.x.T @ g, g.sum(0)
        g = g @ self.w1.T
        return g
torch.manual_seed(1)
layer = Net()
def ins(): torch.manual_seed(0); return torch.randn(7,5),
'''
rights['bars'] = '''
import torch
def swiglu(x, W, V, U):
    a = x @ W
    b = x @ V
    s = torch.sigmoid(a)
    act = a*s
    hid = act*b
    return hid @ U
def swiglu_vjp(x, W, V, U, out_bar):
    a, b = x @ W, x @ V
    s = torch.sigmoid(a)
    act = a*s
    hid = act*b
    U_bar = hid.T @ out_bar
    hid_bar = out_bar @ U.T
    b_bar = hid_bar*act
    act_bar = hid_bar*b
    s_bar = act_bar*a
    a_bar = act_bar*s
    a_bar = a_bar + s_bar*s*(1 - s)
    W_bar = x.T @ a_bar
    V_bar = x.T @ b_bar
    x_bar = a_bar @ W.T
    x_bar = x_bar + b_bar @ V.T
    return x_bar, W_bar, V_bar, U_bar
layer = swiglu, swiglu_vjp
def ins(): torch.manual_seed(0); r = torch.randn; return r(6,5), r(5,4), r(5,4), r(4,3)
'''
rights['no names'] = '''
import numpy as np
def f(X, W, V):
    return (1/(1 + np.exp(-np.maximum(X @ W, 0) @ V)))**2
def b(p, X, W, V):
    q = X @ W
    r = np.maximum(q, 0)
    s = 1/(1 + np.exp(-r @ V))
    t = 2*s*p
    u = s*(1 - s)*t
    k = u @ V.T
    l = np.where(q > 0, k, 0)
    return l @ W.T, X.T @ l, r.T @ u
layer = f, b
def ins(): r = np.random.default_rng(0).standard_normal; return r((6,5)), r((5,4)), r((4,3))
'''
rights['gru over time'] = '''
import torch
class GRU:
    def __init__(self, d, h):
        r = torch.randn
        self.Wz, self.Uz, self.Wn, self.Un = r(d,h), r(h,h), r(d,h), r(h,h)
    def forward(self, x):
        h = torch.zeros(x.shape[1], self.Uz.shape[0], dtype=x.dtype)
        self.saved = []
        for xt in x:
            z = torch.sigmoid(xt @ self.Wz + h @ self.Uz)
            n = torch.tanh(xt @ self.Wn + h @ self.Un)
            new = (1 - z)*n + z*h
            self.saved.append((xt, h, z, n))
            h = new
        return h
    def backward(self, dh):
        dWz, dUz, dWn, dUn = [torch.zeros_like(o) for o in (self.Wz, self.Uz, self.Wn, self.Un)]
        dx = []
        for xt, h, z, n in reversed(self.saved):
            dz = dh*(h - n)
            dn = dh*(1 - z)
            dprev = dh*z
            daz = dz*z*(1 - z)
            dan = dn*(1 - n**2)
            dWz += xt.T @ daz
            dUz += h.T @ daz
            dWn += xt.T @ dan
            dUn += h.T @ dan
            dprev = dprev + daz @ self.Uz.T + dan @ self.Un.T
            dx.append(daz @ self.Wz.T + dan @ self.Wn.T)
            dh = dprev
        self.Wz.g, self.Uz.g, self.Wn.g, self.Un.g = dWz, dUz, dWn, dUn
        return torch.stack(dx[::-1])
torch.manual_seed(1)
layer = GRU(3, 4)
def ins(): torch.manual_seed(0); return torch.randn(4,2,3),
'''
rights['convolution'] = '''
import numpy as np
def conv(x, w, b):
    N, H, W = x.shape
    kh, kw = w.shape
    out = np.zeros((N, H - kh + 1, W - kw + 1))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            patch = x[:, i:i+kh, j:j+kw]
            out[:, i, j] = (patch*w).sum((1, 2)) + b
    act = np.maximum(out, 0)
    return act, (x, w, out)
def conv_backward(dact, cache):
    x, w, out = cache
    kh, kw = w.shape
    dout = dact*(out > 0)
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), 0.
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            dx[:, i:i+kh, j:j+kw] += dout[:, i, j, None, None]*w
            dw += (dout[:, i, j, None, None]*x[:, i:i+kh, j:j+kw]).sum(0)
            db += dout[:, i, j].sum()
    return dx, dw, db
layer = conv, conv_backward
def ins(): r = np.random.default_rng(0).standard_normal; return r((2,4,5)), r((2,3)), r(())
'''

fresh = [     # written when all of that worked, and never worked with before the first count
    ('bars','b_bar = hid_bar*act','b_bar = hid_bar*a'),
    ('bars','a_bar = act_bar*s\n','a_bar = act_bar\n'),
    ('bars','x_bar = x_bar + b_bar @ V.T','x_bar = x_bar + b_bar @ W.T'),
    ('gru over time','dn = dh*(1 - z)','dn = dh*z'),
    ('gru over time','daz = dz*z*(1 - z)','daz = dz*(1 - z**2)'),
    ('gru over time','dUn += h.T @ dan','dUn += n.T @ dan'),
    ('convolution','db += dout[:, i, j].sum()','db += dout[:, i, j].mean()'),
    ('convolution','dx[:, i:i+kh, j:j+kw] += dout','dx[:, i:i+kh, j:j+kw] = dout'),
    ('paths','dxmu2 = 2*xmu*dsq','dxmu2 = xmu*dsq'),
    ('paths','dsqrtvar = -1./(sqrtvar**2)*divar','dsqrtvar = -1./sqrtvar*divar'),
    ('paths','divar = np.sum(dxhat*xmu, axis=0)','divar = np.sum(dxhat*xmu, axis=1)'),
    ('short batch norm','g = dout*gamma','g = dout/gamma'),
    ('short batch norm','a = g.mean(0)','a = dout.mean(0)'),
    ('no names','u = s*(1 - s)*t','u = r@V*0 + (1 - s)*t'),
    ('no names','k = u @ V.T','k = t @ V.T'),
    ('seed','out.g = 2*diff[:,None]/len(x)','out.g = 2*diff[:,None]'),
    ('seed','inp.g = (inp > 0).float()*out.g','inp.g = (out > 0).float()*inp'),
    ('one name again and again','self.dw2, self.db2 = self.h.T @ g, g.sum(0)','self.dw2, self.db2 = self.x[:,:4].T @ g, g.sum(0)'),
    ('lstm','d_c_prev = d_c*f','d_c_prev = d_c*f*c_prev'),
    ('attention','dL_dmasked.masked_fill(mask, 0)\n','dL_dmasked.masked_fill(~mask, 0)\n'),
]
