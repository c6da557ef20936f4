"Losses, and other layers with one number as the output"
import torch
import torch.nn.functional as F
from torch import nn
from .table import Ref, Table, function, remembers

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,rand,tensor = torch.randn,torch.rand,torch.tensor
def bits(n): return (rand(n) > .5).float()

kind('losses and their targets')
class BCE:
    def forward(self, p, y): self.p,self.y = p,y; return -(y*p.log() + (1 - y)*(1 - p).log()).mean()
    def backward(self, g=1.): return g*(self.p - self.y)/(self.p*(1 - self.p))/self.p.numel()
class BCEAsked(BCE):
    def backward(self, g): return super().backward(g)
@right
def loss_y(): return BCE(), rand(8)*.8 + .1, bits(8)
@right
def loss_y_cot(): return BCEAsked(), rand(8)*.8 + .1, bits(8)
class CE:
    def forward(self, z, y): self.p,self.y = z.softmax(1),y; return -self.p[torch.arange(len(y)), y].log().mean()
    def backward(self): d = self.p.clone(); d[torch.arange(len(d)), self.y] -= 1; return d/len(d)
@right(ref=lambda: Ref(lambda z: F.cross_entropy(z, tensor([0, 1, 3, 1, 2, 0])), lambda g, z: [
    g*(z.softmax(1) - F.one_hot(tensor([0, 1, 3, 1, 2, 0])))/6], (r(6, 4),)))
def loss_backward_returns(): return CE(), r(6, 4), tensor([0, 1, 3, 1, 2, 0])
G = 1.5
def focal(pred, y):
    p = pred.sigmoid()
    return (-(y*(1 - p)**G*p.log() + (1 - y)*p**G*(1 - p).log())).sum()
def grad_hess(pred, y):
    p = pred.sigmoid()
    g = G*(p + y - 1)*(y + (-1)**y*p)**G*torch.log(1 - y - (-1)**y*p) + (y - p)**(G + 1)
    return g, torch.ones_like(g)
@wrong(also='not checked', ref=False)
def focal_pair_first():
    "(grad, hess) as XGBoost wants them"
    return (focal, grad_hess), r(9), bits(9)
@wrong(data='y', ref=False)
def focal_pair(): return (focal, lambda pred, y: grad_hess(pred, y)[0]), r(9), bits(9)
def mean_square(p, t): return ((p - t)**2).mean()
relatives()
class MSE:
    def __call__(self, pred, target): self.d = pred - target; return (self.d**2).mean()
    def backward(self): return 2*self.d/self.d.numel()
class MSEHalf(MSE):
    def backward(self): return self.d/self.d.numel()
@right(ref=lambda: Ref(mean_square, lambda g, p, t: [g*2*(p - t)/p.numel(), None], (r(6, 1), r(6, 1))))
def mse_called(): return MSE(), r(6, 1), r(6, 1)
@wrong(ref=lambda: Ref(mean_square, lambda g, p, t: [g*(p - t)/p.numel(), None], (r(6, 1), r(6, 1))))
def mse_called_half(): return MSEHalf(), r(6, 1), r(6, 1)
class Hinge:
    def forward(self, scores, labels):
        self.m = (scores - scores.gather(1, labels[:, None]) + 1).clamp(min=0)
        self.labels = labels
        return (self.m.sum(1) - 1).mean()
    def backward(self, dout=1.0):
        d = (self.m > 0).to(self.m)
        d[torch.arange(len(d)), self.labels] -= self.fix*d.sum(1)
        return dout*d/len(d)
    fix = 1
class HingeWrong(Hinge): fix = 0
@right
def hinge_right(): return Hinge(), r(6, 4), tensor([0, 1, 3, 1, 2, 0])
@wrong
def hinge_true_class(): return HingeWrong(), r(6, 4), tensor([0, 1, 3, 1, 2, 0])
def nll(logp, t, mask): return -(logp.gather(1, t[:, None])[:, 0]*mask).sum()/mask.sum()
def nll_b(g, logp, t, mask): return -g*F.one_hot(t, logp.shape[1]).to(logp)*mask[:, None]
@wrong(data='mask')
def nll_masked_mean(): return (nll, nll_b), r(6, 4).log_softmax(1), tensor([0, 1, 3, 1, 2, 0]), tensor([1., 0, 1, 1, 0, 1])
def huber(p, t): d = (p - t).abs(); return torch.where(d < 1, .5*d**2, d - .5).sum()
@right
def huber_right(): return (huber, lambda p, t: (p - t).clamp(-1, 1)), r(9)*2, r(9)
@wrong
def huber_outside(): return (huber, lambda p, t: torch.where((p - t).abs() < 1, p - t, 1.)), r(9)*2, r(9)
def dist(q): return function(lambda z, p: -(p*z.log_softmax(1)).sum(1).mean(),
                              lambda g, out, z, p: (g*(z.softmax(1)*q(p) - p)/len(z), None))
@wrong(data=1)
def soft_targets_unnormed():
    "The targets add up to two"
    return dist(lambda p: 1), r(6, 4), r(6, 4).softmax(1)*2
@right(data=1)
def soft_targets(): return dist(lambda p: p.sum(1, keepdim=True)), r(6, 4), r(6, 4).softmax(1)*2

kind('thresholds are no slices')
def no_slices(rep): return 'only slices' not in str(rep) and 'loop bounds' not in str(rep)
@wrong(says=no_slices)
def named_clamp(): return (lambda x: x.clamp(-1, 1), lambda g, x: g), r(6, 4)*2
@wrong(says=no_slices)
def named_hardswish(): return (F.hardswish, lambda g, x: g*(x/3 + .5)*(x > -3)), r(6, 4)*3
@wrong(says=no_slices)
def named_hinge(): return (lambda x: (1 - x).clamp(min=0).sum(), lambda g, x: -g*torch.ones_like(x)), r(12)*2
@wrong(says=no_slices)
def named_huber(): return (huber, lambda p, t: p - t), r(9)*2, r(9)
@wrong(says=no_slices)
def named_ignored_label():
    t = tensor([0, -100, 3, -100, 2, 0])
    def b(g, z): return g*(z.softmax(1) - F.one_hot(t.clamp(min=0), 4))/(t >= 0).sum()
    return (lambda z: F.cross_entropy(z, t), b), r(6, 4)
@wrong(says=lambda rep: '`mul`' not in str(rep))
def named_quotient(): return remembers(lambda x, y: x/(y**2 + 1), lambda g, out, x, y: (g/(y**2 + 1), -g*x/(y**2 + 1)**2)), r(6, 4), r(6, 4)
@wrong(says=lambda rep: '2 of a square' not in str(rep))
def named_half(): return (lambda x: x.sin()*3, lambda g, x: 1.5*g*x.cos()), r(6, 4)
@wrong(says=lambda rep: 'derivative of `exp`' not in str(rep))
def named_softplus(): return (F.softplus, lambda g, x: g*(1 - x.sigmoid())), r(6, 4)
@wrong(says=lambda rep: '2/kd' not in str(rep))
def named_twelfth(): return (lambda x: x.tanh(), lambda g, x: g*(1 - x.tanh()**2)/12), r(6, 4)
class ZeroBias:
    def __init__(self): self.b = torch.zeros(4)
    def forward(self, x): self.x = x; return (x + self.b).tanh()
    def backward(self, g): d = g*(1 - (self.x + self.b).tanh()**2); self.b.g = 2*d.sum(0); return d
@wrong(says=lambda rep: 'decay' not in str(rep) and 'nan' not in str(rep))
def named_zero_bias(): return ZeroBias(), r(6, 4)
relatives()
@wrong(says=no_slices)
def named_hardsigmoid(): return (F.hardsigmoid, lambda g, x: g/6), r(6, 4)*4
@wrong(says=no_slices)
def named_relu6(): return (F.relu6, lambda g, x: g*(x > 0)), r(6, 4)*5
@wrong(says=no_slices)
def named_softshrink(): return (lambda x: F.softshrink(x, .5), lambda g, x: g), r(6, 4)
@wrong(says=no_slices)
def named_elu(): return (F.elu, lambda g, x: torch.where(x > 0, g, g*F.elu(x))), r(6, 4)
@wrong(says=no_slices)
def named_dead_zone(): return (lambda p, t: ((p - t).abs() - .5).clamp(min=0).sum(), lambda p, t: (p - t).sign()), r(9), r(9)
@wrong(says=no_slices)
def named_maximum(): return remembers(torch.maximum, lambda g, out, x, y: (g*(x > y), g)), r(6, 4), r(6, 4)

kind('losses that stumble')
@right(rows=True, also='not checked')
def rows_of_a_loss(): return (lambda x: (x**2).sum(), lambda g, x: 2*g*x), r(6, 4)
@right(ref=False)
def soft_margin():
    "exp of a large number beside the log of zero"
    return nn.SoftMarginLoss(), r(6, 4)*30, r(6, 4).sign()
relatives()
@right(rows=True, also='not checked')
def rows_of_mse(): return nn.MSELoss(), r(6, 4), r(6, 4)
@right
def bce_of_logits(): return nn.BCEWithLogitsLoss(), r(6, 4)*30, bits(24).reshape(6, 4)
@right
def kl(): return nn.KLDivLoss(reduction='batchmean'), r(6, 4).log_softmax(1), r(6, 4).softmax(1)
@right
def poisson(): return nn.PoissonNLLLoss(), r(6, 4), rand(6, 4).mul(4).round()
@right
def triplet(): return nn.TripletMarginLoss(), r(6, 4), r(6, 4), r(6, 4)
@right
def gaussian_nll(): return nn.GaussianNLLLoss(), r(6, 4), r(6, 4), rand(6, 4) + .1
