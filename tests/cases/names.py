"Pairs and classes whose arguments are called, and ordered, in many ways"
import torch
from .table import Ref, Table

table = Table()
right,wrong,kind,relatives = table.right,table.wrong,table.kind,table.relatives
r,tensor = torch.randn,torch.tensor
def tanh(x): return x.tanh()
def rule(g, x): return g*(1 - x.tanh()**2)

kind('the incoming gradient under any name')
def named(name, first=True, body='{g}*(1 - x.tanh()**2)'):
    "A pair of tanh, whose rule calls the incoming gradient `name`"
    scope = {}
    exec(f'def b({name}, x): return {body.format(g=name)}' if first else f'def b(x, {name}): return {body.format(g=name)}', scope)
    return tanh, scope['b']
@right
def pair_dh(): return (tanh, lambda dh, x: dh*(1 - x.tanh()**2)), r(6, 4)
def _names(names, first):
    for o in names.split():
        table.add(f'pair_{o}' + '_last'*(not first), 'right', lambda o=o: (named(o, first), r(6, 4)),
                  ref=lambda: Ref(tanh, lambda g, x: [rule(g, x)], (r(6, 4),)))
_names('dA dZ dvalues dlogits err d E', True)
relatives()
_names('upstream_gradient dL_dy delta_out wrt blame', True)
_names('dA err z0', False)
table.add('pair_dh_wrong', 'WRONG', lambda: (named('dh', body='{g}*(1 - x**2)'), r(6, 4)),
          ref=lambda: Ref(tanh, lambda g, x: [g*(1 - x**2)], (r(6, 4),)))
@wrong(ref=lambda: Ref(tanh, lambda g, x: [g*(1 - g**2)], (r(6, 4),)))
def pair_swapped():
    "The rule takes (x, d) and mixes them up inside"
    return (tanh, lambda x, d: d*(1 - d**2)), r(6, 4)
@right(ref=lambda: Ref(tanh, lambda g, x: [rule(g, x)], (r(6, 4),)))
def pair_output():
    "A rule of the output, whatever the names"
    return (tanh, lambda a, da: da*(1 - a**2)), r(6, 4)
@wrong(ref=lambda: Ref(tanh, lambda g, x: [g*(1 - x.tanh())], (r(6, 4),)))
def pair_output_wrong(): return (tanh, lambda a, da: da*(1 - a)), r(6, 4)

kind('backward(input, grad_output) and caches handed back')
class In:
    def forward(self, input): return input.clamp(min=0)
    def backward(self, input, grad_output): return grad_output*(input > 0)
class Out:
    def forward(self, x): return x.clamp(min=0)
    def backward(self, grad_output, x): return grad_output*(x > 0)
class Cache:
    def forward(self, x): return x.clamp(min=0),(x,)
    def backward(self, dout, cache): x, = cache; return dout*(x > 0)
def relu(): return Ref(lambda x: x.clamp(min=0), lambda g, x: [g*(x > 0)], (r(6, 4),))
@right(ref=relu)
def input_and_grad_output(): return In(), r(6, 4)
@right(ref=relu)
def grad_output_and_input(): return Out(), r(6, 4)
@right(ref=relu)
def cache_handed_back(): return Cache(), r(6, 4)
def sine(x, y): return torch.sin(x)*y
def sine_fwd(x, y): return sine(x, y),(torch.cos(x), torch.sin(x), y)
def sine_bwd(res, g): c,s,y = res; return c*g*y, -s*g
def sine_ref(): return Ref(sine, lambda g, x, y: [g*x.cos()*y, -x.sin()*g], (r(4, 3), r(4, 3)))
@wrong(ref=sine_ref)
def jax_vjp_sign_first(): return (sine_fwd, sine_bwd), r(4, 3), r(4, 3)
@wrong(also='not checked', ref=sine_ref)
def jax_vjp_sign_three(): return (sine, sine_fwd, sine_bwd), r(4, 3), r(4, 3)
@wrong(ref=sine_ref)
def jax_vjp_sign(): return (sine, lambda x, y, g: sine_bwd(sine_fwd(x, y)[1], g)), r(4, 3), r(4, 3)
def affine(x, w, b): return x@w + b,(x, w, b)
def affine_b(dout, cache): x,w,b = cache; return dout@w.T, x.T@dout, dout.sum(0)
affine_in = lambda: (r(5, 4), r(4, 3), r(3))
@right(ref=lambda: Ref(lambda x, w, b: x@w + b, lambda g, x, w, b: affine_b(g, (x, w, b)), affine_in()))
def cache_affine(): return (affine, affine_b), *affine_in()
relatives()
@wrong(ref=lambda: Ref(lambda x, w, b: x@w + b, lambda g, x, w, b: (g@w.T, x.T@g, g.mean(0)), affine_in()))
def cache_affine_mean(): return (affine, lambda dout, cache: (dout@cache[1].T, cache[0].T@dout, dout.mean(0))), *affine_in()
def drop_last(dout, cache): return affine_b(dout, cache)[:2] + (torch.zeros(3),)
@wrong(ref=lambda: Ref(lambda x, w, b: x@w + b, lambda g, x, w, b: (g@w.T, x.T@g, 0*b), affine_in()))
def cache_affine_zero(): return (affine, drop_last), *affine_in()
@right(ref=lambda: Ref(tanh, lambda g, x: [rule(g, x)], (r(6, 4),)))
def cache_dict(): return (lambda x: (x.tanh(), {'y': x.tanh()}), lambda dy, cache: dy*(1 - cache['y']**2)), r(6, 4)
@wrong(ref=lambda: Ref(tanh, lambda g, x: [g*(1 - x**2)], (r(6, 4),)))
def cache_dict_wrong(): return (lambda x: (x.tanh(), {'x': x}), lambda dy, cache: dy*(1 - cache['x']**2)), r(6, 4)
class OutIn:
    def forward(self, x, w): return x@w
    def backward(self, x, w, dy): return dy@w.T, x.T@dy
@right(ref=lambda: Ref(lambda x, w: x@w, lambda g, x, w: (g@w.T, x.T@g), (r(5, 4), r(4, 3))))
def inputs_and_gradient(): return OutIn(), r(5, 4), r(4, 3)
class OutInWrong(OutIn):
    def backward(self, x, w, dy): return dy@w.T, (dy.T@x).reshape(w.shape)
@wrong(ref=lambda: Ref(lambda x, w: x@w, lambda g, x, w: (g@w.T, (g.T@x).reshape(w.shape)), (r(5, 4), r(4, 3))))
def inputs_and_gradient_reshaped(): return OutInWrong(), r(5, 4), r(4, 3)
@right(ref=lambda: Ref(tanh, lambda g, x: [rule(g, x)], (r(6, 4),)))
def cache_first(): return (lambda x: (x.tanh(), x), lambda ctx, dout: dout*(1 - ctx.tanh()**2)), r(6, 4)

kind('what a backward returns')
def square(x): return x**2
def X(): return torch.linspace(-1, 1, 12).reshape(4, 3)
def square_ref(): return Ref(square, lambda g, x: [2*g*x], (torch.linspace(-1, 1.1, 12).reshape(4, 3),))
@right(also='not checked', ref=square_ref)
def returns_function(): return (square, lambda ans, x: lambda g: 2*g*x), X()
@right(also='not checked', ref=square_ref)
def returns_dict(): return (square, lambda g, x: {'x': 2*g*x}), X()
@right(ref=square_ref)
def returns_numpy(): return (square, lambda g, x: (2*g*x).numpy()), X()
@wrong(also='not checked', ref=lambda: Ref(lambda x: (x**2).sum(), lambda g, x: [tensor([2.])], (tensor([3.]),)))
def returns_number():
    "The slope is six at 3, and two is returned"
    return (lambda x: (x**2).sum(), lambda g, x: 2.), tensor([3.])
@right(ref=square_ref)
def returns_list(): return (square, lambda g, x: (2*g*x).tolist()), X()
relatives()
@wrong(ref=lambda: Ref(square, lambda g, x: [g*x], (r(4, 3),)))
def returns_numpy_wrong(): return (square, lambda g, x: (g*x).numpy()), X()
@wrong(also='not checked', ref=lambda: Ref(square, lambda g, x: [g*x], (r(4, 3),)))
def returns_function_wrong(): return (square, lambda ans, x: lambda g: g*x), X()
@right(also='not checked', ref=lambda: Ref(torch.mul, lambda g, x, y: [g*y, g*x], (r(4, 3), r(4, 3))))
def returns_dict_of_two(): return (lambda x, y: x*y, lambda g, x, y: {'y': g*x, 'x': g*y}), r(4, 3), r(4, 3)
@right(ref=lambda: Ref(lambda x: 3*x, lambda g, x: [3*g], (tensor(.3),)))
def returns_python_number(): return (lambda x: 3*x, lambda g, x: 3*g.item()), tensor(.3)
@right(ref=lambda: Ref(torch.mul, lambda g, x, y: [g*y, g*x], (r(4, 3), r(4, 3))))
def returns_list_of_tensors(): return (lambda x, y: x*y, lambda g, x, y: [g*y, g*x]), r(4, 3), r(4, 3)
@right(ref=lambda: Ref(tanh, lambda g, x: [rule(g, x)], (r(6, 4),)))
def returns_tuple_of_one(): return (tanh, lambda g, x: (rule(g, x),)), r(6, 4)
