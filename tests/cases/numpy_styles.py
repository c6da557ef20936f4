"Layers that compute in NumPy"
import numpy as np, torch
from .table import Table

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r = torch.randn
def a(*shape): return np.random.normal(size=shape)

kind('NumPy arrays in, NumPy arrays out')
class Tanh:
    def forward(self, x): self.out = np.tanh(x); return self.out
    def backward(self, g): return g*(1 - self.out**2)
@right
def numpy_input(): return Tanh(), a(6, 4)
@right
def numpy_layer_float32(): return Tanh(), r(6, 4)
@right
def numpy_layer_float64(): return Tanh(), r(6, 4).double()
class Conv:
    "The backward to the input writes to the channel of another loop"
    def __init__(self, W): self.W = W
    def forward(self, I):
        self.I = I
        (K,C,R,S),(N,_,H,Wd) = self.W.shape,I.shape
        out = np.zeros((N, K, H-R+1, Wd-S+1))
        for i in range(H-R+1):
            for j in range(Wd-S+1): out[:, :, i, j] = np.einsum('ncrs,kcrs->nk', I[:, :, i:i+R, j:j+S], self.W)
        return out
    def backward(self, E):
        K,C,R,S = self.W.shape
        dI,self.dW = np.zeros_like(self.I),np.zeros_like(self.W)
        for i in range(E.shape[2]):
            for j in range(E.shape[3]):
                self.dW += np.einsum('nk,ncrs->kcrs', E[:, :, i, j], self.I[:, :, i:i+R, j:j+S])
                for m in range(K):
                    for d in range(C): dI[:, self.channel(m, d, C), i:i+R, j:j+S] += E[:, m, i, j][:, None, None]*self.W[m, d]
        return dI
    def channel(self, m, d, C): return m % C
class ConvRight(Conv):
    def channel(self, m, d, C): return d
@wrong
def numpy_conv_channel(): return Conv(a(3, 2, 2, 2)), a(3, 2, 4, 4)
@right
def numpy_conv_right(): return ConvRight(a(3, 2, 2, 2)), a(3, 2, 4, 4)
class Pool:
    "The return stands inside of the loop"
    def forward(self, image):
        self.image = image
        out = np.zeros((image.shape[0]//2, image.shape[1]//2, image.shape[2]))
        for p,h,w in self.patches(image): out[h, w] = p.max((0, 1))
        return out
    def patches(self, im):
        for h in range(im.shape[0]//2):
            for w in range(im.shape[1]//2): yield im[h*2:h*2 + 2, w*2:w*2 + 2],h,w
    def backward(self, dY):
        dk = np.zeros_like(self.image)
        for p,h,w in self.patches(self.image):
            dk[h*2:h*2 + 2, w*2:w*2 + 2] = (p == p.max((0, 1)))*dY[h, w]
            return dk
@wrong
def numpy_pool_return_in_loop(): return Pool(), a(4, 4, 2)
relatives()
class Dense:
    "dW and db beside W and b"
    def __init__(self, d, k): self.W,self.b = a(d, k),a(k)
    def forward(self, x): self.x = x; return x.dot(self.W) + self.b
    def backward(self, dout): self.dW,self.db = self.x.T.dot(dout),self.of_b(dout); return dout.dot(self.W.T)
    def of_b(self, g): return g.sum(axis=0)
class DenseMean(Dense):
    def of_b(self, g): return g.mean(axis=0)
class DenseKeep(Dense):
    def __init__(self, d, k): super().__init__(d, k); self.b = a(1, k)
    def of_b(self, g): return g.sum(axis=0, keepdims=True)
@right
def numpy_dense(): return Dense(4, 3), a(6, 4)
@wrong
def numpy_dense_mean(): return DenseMean(4, 3), a(6, 4)
@right
def numpy_dense_row(): return DenseKeep(4, 3), a(6, 4)
class Softmax:
    def forward(self, x): e = np.exp(x - x.max(axis=1, keepdims=True)); self.p = e/e.sum(axis=1, keepdims=True); return self.p
    def backward(self, dout): return np.stack([(np.diag(p) - self.sign*np.outer(p, p)) @ g for p,g in zip(self.p, dout)])
    sign = 1
class SoftmaxWrong(Softmax): sign = -1
@right
def numpy_softmax(): return Softmax(), a(6, 4)
@wrong
def numpy_softmax_sign(): return SoftmaxWrong(), a(6, 4)
@right
def numpy_pair(): return (lambda x: np.maximum(x, 0), lambda dx, x: dx*(x > 0)), a(6, 4)
@wrong
def numpy_pair_wrong(): return (lambda x: np.logaddexp(0, x), lambda dout, x: dout/(1 + np.exp(x))), a(6, 4)

kind('float32 inside of a right NumPy layer')
class TanhSingle(Tanh):
    def forward(self, x): self.out = np.tanh(np.asarray(x, dtype=np.float32)); return self.out
@right(ref=False)
def numpy_tanh_single(): return TanhSingle(), r(6, 4)
class Float:
    def forward(self, x): self.x = x.float(); return self.x.sin()
    def backward(self, g): return g.float()*self.x.cos()
@right(ref=False)
def torch_float_inside(): return Float(), r(6, 4)
class Zeros(Tanh):
    def forward(self, x): out = np.zeros(x.shape, dtype=np.float32); out[...] = np.tanh(x); self.out = out; return out
@right(ref=False)
def numpy_zeros_single(): return Zeros(), r(6, 4)
relatives()
W32 = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
class Const:
    "The weights are constants of float32"
    def forward(self, x): return np.float32(x) @ W32
    def backward(self, g): return np.float32(g) @ W32.T
@right(ref=False)
def numpy_constant_single(): return Const(), r(6, 4)
class Tensor_:
    def forward(self, x): self.x = x; return torch.tensor(np.exp(np.asarray(x)).tolist())   # torch's default dtype
    def backward(self, g): return g*self.x.exp().float()
@right(ref=False)
def torch_default_dtype(): return Tensor_(), r(6, 4)
@right(ref=False)
def torch_float_pair(): return (lambda x: x.float().sigmoid(), lambda g, x: g*x.float().sigmoid()*(1 - x.float().sigmoid())), r(6, 4)
class Buffer:
    def forward(self, x):
        out = torch.zeros(x.shape)
        for i in range(len(x)): out[i] = x[i]**2
        self.x = x
        return out
    def backward(self, g): return 2*g*self.x.float()
@right(ref=False)
def torch_buffer_single(): return Buffer(), r(6, 4)
class BufferWrong(Buffer):
    def backward(self, g): return g*self.x.float()
@wrong(ref=False)
def torch_buffer_single_wrong(): return BufferWrong(), r(6, 4)
class TanhSingleWrong(TanhSingle):
    def backward(self, g): return g*(1 - self.out)
@wrong(ref=False)
def numpy_tanh_single_wrong(): return TanhSingleWrong(), r(6, 4)

kind('gradients under the names that classes give them')
def linear(store, **opts):
    "A linear layer in NumPy or torch; `store(self, dW, db)` keeps the gradients"
    class L:
        def __init__(self): self.W,self.b = r(4, 3),r(3)
        def forward(self, x): self.x = x; return x@self.W + self.b
        def backward(self, g):
            res = store(self, self.x.T@g*opts.get('factor', 1), g.sum(0))
            return g@self.W.T if res is None else (g@self.W.T, *res)
    return L()
def put(**kw):
    def store(self, dW, db):
        for k,v in kw.items(): setattr(self, k, dict(dW=dW, db=db)[v])
    return store
@right
def grads_lower(): return linear(put(dw='dW', db='db')), r(6, 4)
@right
def grads_dict(): return linear(lambda self, dW, db: setattr(self, 'grads', {'W': dW, 'b': db})), r(6, 4)
relatives()
@wrong
def grads_lower_wrong(): return linear(put(dw='dW', db='db'), factor=2), r(6, 4)
@wrong
def grads_dict_wrong(): return linear(lambda self, dW, db: setattr(self, 'grads', {'W': dW, 'b': db}), factor=-1), r(6, 4)
@right
def grads_under_score(): return linear(put(W_grad='dW', b_grad='db')), r(6, 4)
@right
def grads_grad_first(): return linear(put(grad_W='dW', grad_b='db')), r(6, 4)
@right
def grads_dict_of_d(): return linear(lambda self, dW, db: setattr(self, 'grads', {'dW': dW, 'db': db})), r(6, 4)
@right
def grads_returned(): return linear(lambda self, dW, db: (dW, db)), r(6, 4)
@wrong
def grads_returned_wrong(): return linear(lambda self, dW, db: (dW, db), factor=.5), r(6, 4)
class Lists:
    "params and grads, two lists in the same order"
    def __init__(self): self.params = [r(4, 3), r(3)]; self.grads = [torch.zeros(4, 3), torch.zeros(3)]
    def forward(self, x): self.x = x; W,b = self.params; return x@W + b
    def backward(self, g): W,b = self.params; self.grads[0][...] = self.x.T@g; self.grads[1][...] = g.sum(0); return g@W.T
class ListsWrong(Lists):
    def backward(self, g): res = super().backward(g); self.grads[1][...] /= len(g); return res
@right
def grads_lists(): return Lists(), r(6, 4)
@wrong
def grads_lists_wrong(): return ListsWrong(), r(6, 4)
class Cached:
    "dW comes back with the cache; everything else is kept in dicts"
    def __init__(self): self.params = {'W': a(4, 3), 'b': a(3)}
    def forward(self, x): self.cache = {'x': x}; return x@self.params['W'] + self.params['b']
    def backward(self, dout):
        self.grads = {'dW': self.cache['x'].T@dout, 'db': np.sum(dout, axis=0)}
        return dout@self.params['W'].T
@right
def grads_numpy_dicts(): return Cached(), a(6, 4)
