"""A second table of planted mistakes, in twenty layers that `check/planted` does not have.

It was written before the hypotheses were tuned, so that it says how the checker fares on mistakes that nobody had in
mind. Each line: layer and value | the names that are accepted | the wrong rule. Where the report's words turned out to be
true, and were not the ones expected, they were added to the accepted ones, and one line, of a scalar loss that ignores
`out.g`, was dropped; since then hypotheses have been added because of this table, so it is no longer unseen."""

layers = {
    'sigmoid': dict(forward='x.sigmoid()', ins={'x': (6, 4)}, x='g*out*(1-out)'),
    'softmax': dict(forward='x.softmax(-1)', ins={'x': (6, 4)}, x='out*(g-(g*out).sum(-1,keepdim=True))'),
    'swish': dict(forward='x*x.sigmoid()', ins={'x': (6, 4)}, let={'q': 'x.sigmoid()'}, x='g*(q+x*q*(1-q))'),
    'batchnorm': dict(forward='(x-mu)/s', ins={'x': (8, 3)},
        let={'mu': 'x.mean(0)', 's': '(x.var(0,unbiased=False)+1e-5).sqrt()'},
        x='(g-g.mean(0)-(x-mu)/s*(g*(x-mu)/s).mean(0))/s'),
    'scale': dict(forward='x*a + c', ins={'x': (6, 4)}, params={'a': (4,), 'c': (4,)}, x='g*a', a='(g*x).sum(0)',
        c='g.sum(0)'),
    'bilinear': dict(forward='(x@m*y).sum(1)', ins={'x': (6, 4), 'y': (6, 3)}, params={'m': (4, 3)},
        x='(g[:,None]*y)@m.T', y='g[:,None]*(x@m)', m='x.T@(g[:,None]*y)'),
    'tied': dict(forward='(x@w).tanh()@w.T', ins={'x': (6, 4)}, params={'w': (4, 3)}, let={'h': '(x@w).tanh()'},
        x='((g@w)*(1-h**2))@w.T', w='x.T@((g@w)*(1-h**2)) + g.T@h'),
    'gate': dict(forward='x*y.sigmoid()', ins={'x': (6, 4), 'y': (6, 4)}, let={'q': 'y.sigmoid()'}, x='g*q',
        y='g*x*q*(1-q)'),
    'div': dict(forward='x/y', ins={'x': (6, 4), 'y': (6, 4)}, x='g/y', y='-g*x/y**2'),
    'l2norm': dict(forward='x/x.norm(dim=1,keepdim=True)', ins={'x': (6, 4)}, let={'q': 'x.norm(dim=1,keepdim=True)'},
        x='(g - x/q*(g*x/q).sum(1,keepdim=True))/q'),
    'meanpool': dict(forward='x.mean(1)', ins={'x': (6, 4, 3)}, x='g[:,None].expand(x.shape)/x.shape[1]'),
    'leaky': dict(forward='where(x > 0, x, .1*x)', ins={'x': (6, 4)}, x='where(x > 0, g, .1*g)'),
    'lin3': dict(forward='x@w', ins={'x': (4, 3, 5)}, params={'w': (5, 2)}, x='g@w.T',
        w='x.flatten(0,1).T@g.flatten(0,1)'),
    'crossent': dict(forward='-(x.log_softmax(1)*t).sum()/n', ins={'x': (6, 4)},
        let={'t': 'eye(4).to(x)[arange(n)%4]', 'p': 'x.softmax(1)'}, x='g*(p-t)/n'),
    'sqloss': dict(forward='((x-targ)**2).sum()', ins={'x': (6, 4), 'targ': (6, 4)}, x='g*2*(x-targ)'),
    'addbias': dict(forward='(x@w+b).clamp_min(0)', ins={'x': (6, 4)}, params={'w': (4, 3), 'b': (3,)},
        let={'m': '(x@w+b)>0'}, x='(g*m)@w.T', w='x.T@(g*m)', b='(g*m).sum(0)'),
    'abs': dict(forward='x.abs()', ins={'x': (6, 4)}, x='g*x.sign()'),
    'exp': dict(forward='x.exp()', ins={'x': (6, 4)}, x='g*out'),
    'cumsum': dict(forward='x.cumsum(1)', ins={'x': (6, 4)}, x='g.flip(1).cumsum(1).flip(1)'),
    'attn': dict(forward='(q@k.T/2).softmax(-1)@v', ins={'q': (5, 4), 'k': (5, 4), 'v': (5, 4)},
        let={'a': '(q@k.T/2).softmax(-1)'}, q='(a*(g@v.T-((g@v.T)*a).sum(-1,keepdim=True)))@k/2',
        k='(a*(g@v.T-((g@v.T)*a).sum(-1,keepdim=True))).T@q/2', v='a.T@g'),
}
table = '''
sigmoid x | input for output | g*x*(1-x)
sigmoid x | derivative missing | g
sigmoid x | derivative | g*out
sigmoid x | derivative | g*(1-out)
sigmoid x | output for input | g*out.sigmoid()*(1-out.sigmoid())
sigmoid x | cotangent ignored | out*(1-out)
softmax x | overwritten, derivative | out*g
softmax x | cross terms | g*out*(1-out)
softmax x | overwritten, factor missing | out*(g-g.sum(-1,keepdim=True))
softmax x | factor 1/n | out*(g-(g*out).sum(-1,keepdim=True))/n
softmax x | sign | -out*(g-(g*out).sum(-1,keepdim=True))
softmax x | wrong tensor, axis permuted, wrong axis | out*(g-(g*out).sum(0,keepdim=True))
softmax x | cotangent ignored, zero | out*(1-out)
swish x | overwritten | g*q
swish x | overwritten, path | g*x*q*(1-q)
swish x | output for input | g*(q+out*q*(1-q))
swish x | path sign | g*(q-x*q*(1-q))
swish x | derivative missing, wrong tensor, factor missing | g*(q+x*1)
batchnorm x | overwritten | g/s
batchnorm x | overwritten | (g-g.mean(0))/s
batchnorm x | overwritten | (g-(x-mu)/s*(g*(x-mu)/s).mean(0))/s
batchnorm x | column factor, row factor, wrong tensor, derivative missing | (g-g.mean(0)-(x-mu)/s*(g*(x-mu)/s).mean(0))
batchnorm x | unclear | (g-g.mean(1,True)-(x-mu)/s*(g*(x-mu)/s).mean(0))/s
scale x | factor missing, derivative missing, wrong tensor | g
scale x | another gradient, value, wrong tensor, derivative | g*x
scale x | wrong tensor | g*c
scale a | batch sum | g*x
scale a | factor 1/n | (g*x).mean(0)
scale a | another gradient | g.sum(0)
scale a | cotangent ignored | x.sum(0)
scale a | output for input, wrong tensor | (g*out).sum(0)
scale a | rows | (g*x)[0]
scale a | rows | (g*x)[::2].sum(0)
scale c | rows | g[-1]
scale c | factor 1/n | g.mean(0)
scale c | summed, shape | g.sum(1)
scale c | cotangent | g.abs().sum(0)
bilinear x | factor missing, cotangent ignored | y@m.T
bilinear x | factor missing, wrong tensor | (g[:,None]*ones_like(y))@m.T
bilinear y | sign | -g[:,None]*(x@m)
bilinear m | rows | x[1:].T@(g[1:,None]*y[1:])
bilinear m | factor 1/n | x.T@(g[:,None]*y)/n
bilinear m | transposed | (g[:,None]*y).T@x
tied w | overwritten | x.T@((g@w)*(1-h**2))
tied w | overwritten | g.T@h
tied w | derivative missing | x.T@(g@w) + g.T@h
tied w | added twice | x.T@((g@w)*(1-h**2)) + 2*g.T@h
tied x | derivative missing | (g@w)@w.T
tied x | input for output, wrong tensor | ((g@w)*(1-(x@w)**2))@w.T
gate x | derivative missing, wrong tensor | g*y
gate x | output for input, wrong tensor, derivative | g*q*(1-q)
gate y | factor missing | g*q*(1-q)
gate y | another gradient | g*q
gate y | derivative missing | g*x
gate y | output for input, wrong tensor, derivative | g*x*out*(1-out)
div y | sign | g*x/y**2
div y | wrong tensor, factor missing | -g*x/y
div y | factor missing | -g/y**2
div x | wrong tensor | g/x
div x | wrong tensor, derivative | g*y
l2norm x | overwritten | g/q
l2norm x | row factor, scale varies, output for input | (g - x/q*(g*x/q).sum(1,keepdim=True))
l2norm x | sign, path sign | (g + x/q*(g*x/q).sum(1,keepdim=True))/q
meanpool x | factor 4, factor n, factor k, factor d, factor | g[:,None].expand(x.shape)*1
meanpool x | rows, columns | cat([g[:,None],zeros(n,3,3).double()],1)/4
meanpool x | cotangent ignored | ones_like(x)/4
leaky x | mask inverted, sign inside | where(x > 0, .1*g, g)
leaky x | mask from the wrong tensor, rows, overwritten | g*(x>0)
leaky x | derivative missing, mask missing | g
lin3 w | axis permuted, rows | x[0].T@g[0]
lin3 w | batch sum | x.transpose(1,2)@g
lin3 w | factor 1/n | x.flatten(0,1).T@g.flatten(0,1)/n
lin3 x | axis permuted | (g@w.T).transpose(0,1).reshape(x.shape)
lin3 x | transposed | g@w.reshape(2,5)
crossent x | overwritten, wrong tensor | g*p/n
crossent x | sign | g*(t-p)/n
crossent x | factor n | g*(p-t)
crossent x | derivative missing, output for input | g*(x-t)/n
crossent x | overwritten, derivative missing | -g*t/n
sqloss x | factor ½ | g*(x-targ)
sqloss x | factor 1/n | g*2*(x-targ)/n
sqloss x | sign | g*2*(targ-x)
sqloss x | overwritten, factor missing, wrong tensor | g*2*x
addbias x | mask missing | g@w.T
addbias w | mask missing | x.T@g
addbias b | mask missing | g.sum(0)
addbias b | batch sum | g*m
addbias w | mask inverted | x.T@(g*~m)
addbias b | mask from the wrong tensor | (g*(g>0)).sum(0)
addbias w | cotangent ignored | x.T@m.double()
abs x | derivative missing | g
abs x | sign | -g*x.sign()
abs x | wrong tensor, derivative | g*x
exp x | input for output | g*x
exp x | output for input | g*out.exp()
exp x | derivative missing | g
cumsum x | derivative missing, axis permuted | g
cumsum x | axis permuted, transposed | g.cumsum(1)
cumsum x | axis permuted | g.cumsum(1).flip(1)
attn q | derivative missing | (g@v.T)@k/2
attn q | factor 2 | (a*(g@v.T-((g@v.T)*a).sum(-1,keepdim=True)))@k
attn q | overwritten, derivative | (a*(g@v.T))@k/2
attn k | transposed | (a*(g@v.T-((g@v.T)*a).sum(-1,keepdim=True)))@q/2
attn v | transposed | a@g
attn v | shape, another gradient, overwritten, derivative missing, factor missing | g
attn v | rows, columns | cat([a[:,1:].T@g,g[:1]*0])
sigmoid x | scale varies | g*out*(1-out)/(g*out*(1-out)).norm()
scale a | clipped | (g*x).sum(0).clamp(-1,1)
scale x | rows | cat([g[:1]*a,g[1:]*0])
scale x | columns | cat([(g*a)[:,:2],g[:,2:]],1)
scale x | precision | (g.float()*a.float()).double()
scale x | not finite | g*a*x/x.relu()
'''


# A third table: axes, orders, flips, indices. Written before any hypothesis about these; used while they were written.
order_layers = {
    'smax0': dict(forward='x.softmax(0)', ins={'x': (6, 4)}, x='out*(g-(g*out).sum(0,keepdim=True))'),
    'msum': dict(forward='x.mean(1)', ins={'x': (5, 4, 4)}, x='g[:,None].expand(x.shape)/4'),
    'cumsum0': dict(forward='(x*x).cumsum(1)', ins={'x': (6, 4)}, x='2*x*g.flip(1).cumsum(1).flip(1)'),
    'heads': dict(forward='(x@w).view(n,4,2,3).transpose(1,2)*1', ins={'x': (5, 4, 6)}, params={'w': (6, 6)},
        let={'gm': 'None if g is None else g.transpose(1,2).reshape(n,4,6)'}, x='gm@w.T', w='x.flatten(0,1).T@gm.flatten(0,1)'),
    'tolast': dict(forward='x.permute(0,2,3,1)*1', ins={'x': (4, 3, 2, 5)}, x='g.permute(0,3,1,2)'),
    'conv': dict(forward='nn.functional.conv1d(x,w)', ins={'x': (4, 3, 6)}, params={'w': (3, 3, 3)},
        x='nn.functional.conv_transpose1d(g,w)', w='einsum("not,nitk->oik",g,x.unfold(2,3,1))'),
    'roll': dict(forward='x.roll(1,1)**2', ins={'x': (6, 5)}, x='2*x*g.roll(-1,1)'),
    'pick': dict(forward='x.tanh()[:,[2,0,3,1]]', ins={'x': (6, 4)}, let={'p': 'tensor([2,0,3,1])'},
        x='g[:,p.argsort()]*(1-x.tanh()**2)'),
    'sorted': dict(forward='x.sort(1).values', ins={'x': (6, 5)}, let={'i': 'x.argsort(1)'}, x='g.gather(1,i.argsort(1))'),
    'concat': dict(forward='cat([x,y],1)**2', ins={'x': (6, 3), 'y': (6, 3)}, let={'h': 'cat([x,y],1)'},
        x='2*x*g[:,:3]', y='2*y*g[:,3:]'),
    'glu': dict(forward='x[:,:3]*x[:,3:].sigmoid()', ins={'x': (6, 6)}, let={'a': 'x[:,:3]', 's': 'x[:,3:].sigmoid()'},
        x='cat([g*s,g*a*s*(1-s)],1)'),
    'lstm': dict(forward='(lambda i,f,o,c: o.sigmoid()*(i.sigmoid()*c.tanh()+f.sigmoid()).tanh())(*(x@w).chunk(4,1))',
        ins={'x': (6, 5)}, params={'w': (5, 12)},
        let={'q': '(x@w).chunk(4,1)', 'i': 'q[0].sigmoid()', 'f': 'q[1].sigmoid()', 'o': 'q[2].sigmoid()', 'c': 'q[3].tanh()',
             't': '(i*c+f).tanh()', 'e': 'None if g is None else g*o*(1-t**2)',
        'd': 'None if g is None else [e*c*i*(1-i),e*f*(1-f),g*t*o*(1-o),e*i*(1-c**2)]'},
        x='cat(d,1)@w.T', w='x.T@cat(d,1)'),
    'rope': dict(forward='x*c+cat([-x[:,2:],x[:,:2]],1)*s', ins={'x': (6, 4)}, let={'a': 'arange(n)[:,None]*tensor([1.,.3,1.,.3]).double()',
        'c': 'a.cos().to(x)', 's': 'a.sin().to(x)'}, x='g*c+cat([(g*s)[:,2:],-(g*s)[:,:2]],1)'),
    'shuffle': dict(forward='x.view(n,2,2,3).permute(0,2,3,1).reshape(n,2,6)*1', ins={'x': (5, 4, 3)},
        x='g.view(n,2,3,2).permute(0,3,1,2).reshape(n,4,3)'),
    'kron': dict(forward='kron(x,y)', ins={'x': (4, 3), 'y': (2, 3)}, x='(g.view(n,2,3,3)*y[None,:,None]).sum((1,3))',
        y='(g.view(n,2,3,3)*x[:,None,:,None]).sum((0,2))'),
    'outer': dict(forward='x[:,:,None]*y[:,None,:]', ins={'x': (6, 4), 'y': (6, 4)}, x='(g*y[:,None]).sum(2)', y='(g*x[:,:,None]).sum(1)'),
    'embed': dict(forward='w[tensor([0,2,1,2,0,2])[:n]]*x', ins={'x': (6, 3)}, params={'w': (4, 3)}, let={'i': 'tensor([0,2,1,2,0,2])[:n]'},
        x='g*w[i]', w='zeros_like(w).index_add(0,i,g*x)'),
    'windows': dict(forward='x.unfold(1,3,1).sum(2)', ins={'x': (6, 6)},
        x='nn.functional.pad(g,(0,2))+nn.functional.pad(g,(1,1))+nn.functional.pad(g,(2,0))'),
    'top': dict(forward='x.amax(1)', ins={'x': (5, 5)}, x='g[:,None]*(x==x.amax(1,True))'),
    'gates': dict(forward='(x+bi).sigmoid()*(x+bf).tanh()', ins={'x': (6, 4)}, params={'bi': (4,), 'bf': (4,)},
        let={'i': '(x+bi).sigmoid()', 'f': '(x+bf).tanh()'}, x='g*i*(1-i)*f+g*i*(1-f**2)', bi='(g*i*(1-i)*f).sum(0)',
        bf='(g*i*(1-f**2)).sum(0)'),
    'repeat': dict(forward='(x*x).repeat(1,2)', ins={'x': (6, 4)}, x='2*x*g.view(n,2,4).sum(1)'),
    'causal': dict(forward='x.tril()@y', ins={'x': (4, 5, 5), 'y': (4, 5, 2)}, x='(g@y.mT).tril()', y='x.tril().mT@g'),
    'head2': dict(forward='(x.view(n,3,2)*x.view(n,3,2).softmax(2)).reshape(n,6)', ins={'x': (5, 6)},
        let={'v': 'x.view(n,3,2)', 'a': 'v.softmax(2)', 'u': 'None if g is None else g.view(n,3,2)'},
        x='(u*a+a*(u*v-(u*v*a).sum(2,True))).reshape(n,6)'),
}
order_table = '''
smax0 x | wrong axis, axis permuted | out*(g-(g*out).sum(1,keepdim=True))
msum x | wrong axis, axis permuted | g[:,:,None].expand(x.shape)/4
cumsum0 x | axis permuted, order | 2*x*g.cumsum(1)
cumsum0 x | axis permuted, wrong axis | 2*x*g.flip(1).cumsum(1)
heads x | transposed, axis permuted | g.reshape(n,4,6)@w.T
heads w | transposed, axis permuted | x.flatten(0,1).T@g.reshape(-1,6)
tolast x | axis permuted, transposed | g.permute(0,2,3,1).reshape(x.shape)
conv x | axis permuted | nn.functional.conv_transpose1d(g,w.flip(2))
conv x | transposed, axis permuted | nn.functional.conv_transpose1d(g,w.transpose(0,1))
conv w | axis permuted | einsum("not,nitk->oik",g,x.unfold(2,3,1)).flip(2)
roll x | axis permuted | 2*x*g.roll(1,1)
pick x | axis permuted | g[:,p]*(1-x.tanh()**2)
pick x | axis permuted | g*(1-x.tanh()**2)
sorted x | axis permuted, order | g.gather(1,i)
sorted x | axis permuted, order, derivative missing | g
concat x | axis permuted, order, wrong tensor | 2*x*g[:,3:]
glu x | axis permuted, order | cat([g*a*s*(1-s),g*s],1)
lstm w | axis permuted, order | x.T@cat([d[1],d[0],d[2],d[3]],1)
lstm x | axis permuted, order | cat([d[0],d[1],d[3],d[2]],1)@w.T
rope x | path sign, sign inside | g*c+cat([-(g*s)[:,2:],(g*s)[:,:2]],1)
rope x | axis permuted, order | g*c+stack([(g*s)[:,1::2],-(g*s)[:,::2]],2).flatten(1)
shuffle x | axis permuted, transposed | g.view(n,2,2,3).permute(0,2,1,3).reshape(n,4,3)
kron x | axis permuted, transposed, order | (g.view(2,n,3,3)*y[:,None,None]).sum((0,3))
outer x | transposed, axis permuted, wrong axis | (g*y[:,:,None]).sum(1)
embed w | overwritten | zeros_like(w).index_put((i,),g*x)
windows x | overwritten | cat([g,g[:,-1:],g[:,-1:]],1)
top x | wrong axis, axis permuted | g[:,None]*(x==x.amax(0,True))
gates bi | another gradient | (g*i*(1-f**2)).sum(0)
repeat x | axis permuted, order, transposed | 2*x*g.view(n,4,2).sum(2)
causal x | transposed, mask from the wrong tensor | (g@y.mT).triu()
causal x | transposed | (g@y.mT).mT.tril()
head2 x | wrong axis, axis permuted | (u*a+a*(u*v-(u*v*a).sum(1,True))).reshape(n,6)
'''

# A fourth table, in layers of its own, which was written before the hypotheses about conditions and orders, and not looked at
# until they were done. At first sight 26 of 32 were right, one was unclear, two had a true name that was not expected (one of
# them "only slices 0, 5 are right"), and three a wrong one: softplus, x/(y*y+1) and log(1+x*x), whose squares were told as
# "the derivative of `mul` is 1 - its argument". These six have been looked into since.
apart_layers = {
    'hardsig': dict(forward='(x*x.sign()*x.sign()+1).clamp(0,2)', ins={'x': (8, 5)}, x='g*((x>-1)&(x<1))'),
    'shrink': dict(forward='where(x.abs()>.5,x,0*x)', ins={'x': (8, 5)}, x='g*(x.abs()>.5)'),
    'elu': dict(forward='where(x>0,x,x.exp()-1)', ins={'x': (8, 5)}, x='g*where(x>0,1,x.exp())'),
    'huber': dict(forward='where((x-y).abs()<1,.5*(x-y)**2,(x-y).abs()-.5)', ins={'x': (8, 5), 'y': (8, 5)},
        x='g*(x-y).clamp(-1,1)', y='-g*(x-y).clamp(-1,1)'),
    'six': dict(forward='(2*(x@w)).clamp(0,3)', ins={'x': (8, 5)}, params={'w': (5, 3)}, let={'h': '2*(x@w)'},
        x='2*(g*((h>0)&(h<3)))@w.T', w='2*x.T@(g*((h>0)&(h<3)))'),
    'hinge': dict(forward='(1-x*y.sign()).clamp_min(0).sum(1)', ins={'x': (8, 5), 'y': (8, 5)}, let={'s': 'y.sign()'},
        x='-g[:,None]*s*(x*s<1)', y='0*y'),
    'ignore': dict(forward='-(x.log_softmax(1)*eye(4).to(x)[t]).sum(1)*(t!=2)', ins={'x': (9, 4), 't': (9,)}, ints={'t': 4},
        x='(g*(t!=2))[:,None]*(x.softmax(1)-eye(4).to(x)[t])'),
    'pads': dict(forward='w[t]*(t!=0)[:,None]+x', ins={'x': (9, 3), 't': (9,)}, ints={'t': 4}, params={'w': (4, 3)},
        x='g', w='zeros_like(w).index_add(0,t,g*(t!=0)[:,None])'),
    'maxpool': dict(forward='x.amax(2)', ins={'x': (6, 4, 3)}, x='g[:,:,None]*(x==x.amax(2,True))'),
    'soft': dict(forward='(1+x.exp()).log()', ins={'x': (7, 4)}, x='g*x.sigmoid()'),
    'cauchy': dict(forward='x/(y*y+1)', ins={'x': (7, 4), 'y': (7, 4)}, x='g/(y*y+1)', y='-g*x*2*y/(y*y+1)**2'),
    'log1': dict(forward='(1+x*x).log()', ins={'x': (7, 4)}, x='g*2*x/(1+x*x)'),
    'scaled': dict(forward='x@w*.5', ins={'x': (6, 4)}, params={'w': (4, 3)}, x='g@w.T*.5', w='x.T@g*.5'),
    'lsm': dict(forward='x.log_softmax(2)', ins={'x': (4, 3, 3)}, x='g-out.exp()*g.sum(2,keepdim=True)'),
    'var': dict(forward='x.var(1,keepdim=True)*x', ins={'x': (5, 5)},
        x='g*x.var(1,keepdim=True)+(g*x).sum(1,keepdim=True)*2*(x-x.mean(1,keepdim=True))/4'),
    'conv2': dict(forward='nn.functional.conv2d(x,w)', ins={'x': (3, 2, 4, 4)}, params={'w': (2, 2, 3, 3)},
        x='nn.functional.conv_transpose2d(g,w)', w='einsum("nohw,nihwkl->oikl",g,x.unfold(2,3,1).unfold(3,3,1))'),
    'chan': dict(forward='x.view(n,2,3,2).transpose(1,2).flatten(1,2).sigmoid()', ins={'x': (4, 6, 2)}, let={'o': 'x.sigmoid()'},
        x='g.view(n,3,2,2).transpose(1,2).reshape(n,6,2)*o*(1-o)'),
    'scat': dict(forward='zeros(n,4).to(x).index_add(1,tensor([1,3,1]),x.exp())', ins={'x': (6, 3)}, x='g[:,[1,3,1]]*x.exp()'),
    'three': dict(forward='cat([x,y,z],1).sin()', ins={'x': (6, 2), 'y': (6, 2), 'z': (6, 2)},
        let={'h': 'None if g is None else g*cat([x,y,z],1).cos()',
        'hg': 'g'}, x='h[:,:2]', y='h[:,2:4]', z='h[:,4:]'),
    'gru': dict(forward='(lambda r,z,h: z.sigmoid()*(r.sigmoid()*h).tanh())(*(x@w).split(2,1))', ins={'x': (6, 4)}, params={'w': (4, 6)},
        let={'q': '(x@w).split(2,1)', 'r': 'q[0].sigmoid()', 'z': 'q[1].sigmoid()', 't': '(r*q[2]).tanh()',
             'd': 'None if g is None else [g*z*(1-t**2)*q[2]*r*(1-r),g*t*z*(1-z),g*z*(1-t**2)*r]'}, x='cat(d,1)@w.T', w='x.T@cat(d,1)'),
    'attn2': dict(forward='((x@w).view(n,3,2,2).transpose(1,2)@k).sin()', ins={'x': (4, 3, 4)}, params={'w': (4, 4), 'k': (2, 2)},
        let={'h': '(x@w).view(n,3,2,2).transpose(1,2)', 'e': 'None if g is None else ((g*(h@k).cos())@k.T)'},
        x='e.transpose(1,2).reshape(n,3,4)@w.T', w='x.flatten(0,1).T@e.transpose(1,2).reshape(-1,4)',
        k='h.flatten(0,2).T@(g*(h@k).cos()).flatten(0,2)'),
    'table': dict(forward='(w[t]).tanh().flatten(1)', ins={'t': (6, 2)}, ints={'t': 5}, params={'w': (5, 3)},
        w='zeros_like(w).index_add(0,t.flatten(),((1-w[t].tanh()**2)*g.view(n,2,3)).flatten(0,1))'),
    'lift': dict(forward='x.unfold(1,2,1).prod(2)', ins={'x': (5, 5)},
        x='nn.functional.pad(g,(0,1))*nn.functional.pad(x[:,1:],(0,1))+nn.functional.pad(g,(1,0))*nn.functional.pad(x[:,:-1],(1,0))'),
    'duo': dict(forward='(x@a).tanh()+(x@b).sigmoid()', ins={'x': (6, 4)}, params={'a': (4, 3), 'b': (4, 3)},
        let={'p': '(x@a).tanh()', 'q': '(x@b).sigmoid()'}, x='(g*(1-p**2))@a.T+(g*q*(1-q))@b.T', a='x.T@(g*(1-p**2))', b='x.T@(g*q*(1-q))'),
}
apart_table = '''
hardsig x | condition, mask missing | g*(x>-1)
shrink x | condition, mask from the wrong tensor | g*(x>.5)
shrink x | condition, mask missing, derivative missing | g
elu x | condition, path factor ½ | g*where(x>0,1,.5*x.exp())
elu x | condition | g*where(x>0,1,x.exp()-1)
huber x | condition, derivative, mask missing, derivative missing, path | g*(x-y)
six w | condition, mask missing | 2*x.T@(g*(h>0))
hinge x | condition, mask missing | -g[:,None]*s
hinge x | condition, mask from the wrong tensor | -g[:,None]*s*(x*s<0)
ignore x | condition, mask missing | g[:,None]*(x.softmax(1)-eye(4).to(x)[t])
pads w | condition, mask missing | zeros_like(w).index_add(0,t,g)
maxpool x | condition, mask from the wrong tensor | g[:,:,None]*(x>x.amax(2,True)-.5)
lsm x | condition | where(g.abs()<.3,0,1)*(g-out.exp()*g.sum(2,keepdim=True))
soft x | derivative | g*(1-x.sigmoid())
cauchy y | factor missing, derivative missing | -g*x/(y*y+1)**2
log1 x | factor missing, derivative missing | g/(1+x*x)
scaled w | factor 1/12 | x.T@g/24
scaled x | factor 2 | g@w.T
lsm x | wrong axis, axis permuted | g-out.exp()*g.sum(1,keepdim=True)
var x | wrong axis, axis permuted | g*x.var(1,keepdim=True)+(g*x).sum(0,keepdim=True)*2*(x-x.mean(1,keepdim=True))/4
conv2 x | axis permuted | nn.functional.conv_transpose2d(g,w.flip(2,3))
conv2 w | axis permuted, transposed | einsum("nohw,nihwkl->oikl",g,x.unfold(2,3,1).unfold(3,3,1)).transpose(2,3)
chan x | axis permuted, transposed, order | g.view(n,2,3,2).transpose(1,2).reshape(n,6,2)*o*(1-o)
scat x | axis permuted, order | g[:,[3,1,3]]*x.exp()
three y | axis permuted, order, another gradient, wrong tensor | h[:,4:]
gru w | axis permuted, order | x.T@cat([d[1],d[0],d[2]],1)
attn2 w | axis permuted, transposed | x.flatten(0,1).T@e.reshape(-1,4)
attn2 x | axis permuted, transposed, order | e.permute(0,2,3,1).reshape(n,3,4)@w.T
table w | overwritten | zeros_like(w).index_put((t.flatten(),),((1-w[t].tanh()**2)*g.view(n,2,3)).flatten(0,1))
lift x | overwritten | nn.functional.pad(g*x[:,:-1],(1,0))+nn.functional.pad((g*x[:,1:])[:,:1],(0,4))
duo a | another gradient | x.T@(g*q*(1-q))
duo b | batch sum, rows, columns | cat([(x.T@(g*q*(1-q)))[:3],rand(1,3).double()])
'''

# A fifth table, written when all hypotheses stood, and nothing was changed because of it but the words about a factor too many.
# At first sight 30 of 37 had a true name that was expected, two another true one, and five were unclear.
fresh_layers = {
    'ln': dict(forward='(x-x.mean(1,True))/(x.var(1,keepdim=True,unbiased=False)+1e-5).sqrt()*a', ins={'x': (6, 5)}, params={'a': (5,)},
        let={'r': '1/(x.var(1,keepdim=True,unbiased=False)+1e-5).sqrt()', 'h': '(x-x.mean(1,True))*r', 'u': 'None if g is None else g*a'},
        x='r*(u-u.mean(1,True)-h*(u*h).mean(1,True))', a='(g*h).sum(0)'),
    'mha': dict(forward='((q.view(n,4,2,2).transpose(1,2)@k.view(n,4,2,2).permute(0,2,3,1)).softmax(-1)@v.view(n,4,2,2).transpose(1,2)).transpose(1,2).reshape(n,4,4)',
        ins={'q': (3, 4, 4), 'k': (3, 4, 4), 'v': (3, 4, 4)}, let={'Q': 'q.view(n,4,2,2).transpose(1,2)',
        'K': 'k.view(n,4,2,2).transpose(1,2)', 'V': 'v.view(n,4,2,2).transpose(1,2)',
        'A': '(Q@K.mT).softmax(-1)', 'G': 'None if g is None else g.view(n,4,2,2).transpose(1,2)', 'D': 'None if g is None else G@V.mT',
        'S': 'None if g is None else A*(D-(D*A).sum(-1,True))'},
        q='(S@K).transpose(1,2).reshape(q.shape)', k='(S.mT@Q).transpose(1,2).reshape(q.shape)',
        v='(A.mT@G).transpose(1,2).reshape(q.shape)'),
    'npsm': dict(forward='from_numpy(x.detach().softmax(1).numpy())', ins={'x': (6, 4)}, x='out*(g-(g*out).sum(1,True))'),
    'npclip': dict(forward='from_numpy(x.detach().numpy().clip(-1,.8))*2', ins={'x': (8, 4)}, x='2*g*((x>-1)&(x<.8))'),
    'nproll': dict(forward='from_numpy(x.detach().roll(2,1).numpy())', ins={'x': (6, 5)}, x='g.roll(-2,1)'),
    'swishb': dict(forward='x*(b*x).sigmoid()', ins={'x': (6, 4)}, params={'b': (4,)}, let={'s': '(b*x).sigmoid()'},
        x='g*(s+x*b*s*(1-s))', b='(g*x*x*s*(1-s)).sum(0)'),
    'dist': dict(forward='((x-y)**2).sum(1).sqrt()', ins={'x': (6, 4), 'y': (6, 4)}, x='g[:,None]*(x-y)/out[:,None]',
        y='-g[:,None]*(x-y)/out[:,None]'),
    'cosim': dict(forward='(x*y).sum(1)/x.norm(dim=1)/y.norm(dim=1)', ins={'x': (6, 4), 'y': (6, 4)},
        let={'a': 'x.norm(dim=1,keepdim=True)', 'b': 'y.norm(dim=1,keepdim=True)'},
        x='g[:,None]*(y/a/b-out[:,None]*x/a**2)', y='g[:,None]*(x/a/b-out[:,None]*y/b**2)'),
    'dconv': dict(forward='nn.functional.conv_transpose1d(x,w,stride=2)', ins={'x': (3, 2, 4)}, params={'w': (2, 2, 3)},
        x='nn.functional.conv1d(g,w,stride=2)', w='einsum("nit,notk->iok",x,g.unfold(2,3,2))'),
    'avg': dict(forward='nn.functional.avg_pool2d(x[:,None],2)[:,0]', ins={'x': (3, 4, 6)},
        x='g.repeat_interleave(2,1).repeat_interleave(2,2)/4'),
    'bce': dict(forward='(x.clamp_min(0)-x*t+(1+(-x.abs()).exp()).log()).mean(1)', ins={'x': (6, 4)},
        let={'t': '(x.detach()*7).sin().gt(0).double().to(x) if 0 else (arange(4)%2).to(x)'}, x='g[:,None]*(x.sigmoid()-t)/4'),
    'gath': dict(forward='x.gather(1,t).exp()', ins={'x': (6, 5), 't': (6, 3)}, ints={'t':5},
        x='zeros_like(x).scatter_add(1,t,g*x.gather(1,t).exp())'),
    'ema': dict(forward='stack([x[:,:i+1].matmul(.5**arange(i,-1,-1).to(x)) for i in (0,1,2,3)],1)', ins={'x': (5, 4)},
        x='stack([g[:,i:].matmul(.5**arange(0,g.shape[1]-i).to(x)) for i in (0,1,2,3)],1)'),
    'trace': dict(forward='(x@y.mT).diagonal(dim1=1,dim2=2)', ins={'x': (4, 3, 3), 'y': (4, 3, 3)}, x='g[:,:,None]*y', y='g[:,:,None]*x'),
}
fresh_table = '''
ln x | wrong axis | r*(u-u.mean(0)-h*(u*h).mean(1,True))
ln x | factor missing, wrong tensor | r*(g-u.mean(1,True)-h*(u*h).mean(1,True))
ln x | path factor k | r*(u-u.mean(1,True)-h*(u*h).sum(1,True))
ln a | wrong tensor, factor missing | (g*(x-x.mean(1,True))).sum(0)
ln a | condition | (g*h*(h>0)).sum(0)
mha q | axis permuted, order | (S@K).reshape(q.shape)
mha k | transposed | (S@Q).transpose(1,2).reshape(q.shape)
mha v | transposed | (A@G).transpose(1,2).reshape(q.shape)
mha q | overwritten | ((A*D)@K).transpose(1,2).reshape(q.shape)
mha k | another gradient | (S@K).transpose(1,2).reshape(q.shape)
npsm x | wrong axis | out*(g-(g*out).sum(0,True))
npsm x | cross terms | out*(1-out)*g
npsm x | overwritten, derivative | out*g
npclip x | condition | 2*g*(x>-1)
npclip x | factor ½ | g*((x>-1)&(x<.8))
npclip x | condition | 2*g*(x.abs()<.8)
nproll x | axis permuted | g.roll(2,1)
swishb b | batch sum | g*x*x*s*(1-s)
swishb b | factor missing, derivative | (g*x*s*(1-s)).sum(0)
swishb x | factor missing, path | g*(s+x*s*(1-s))
dist x | factor 2 | 2*g[:,None]*(x-y)/out[:,None]
dist y | sign | g[:,None]*(x-y)/out[:,None]
dist x | derivative missing, row factor, factor missing, wrong tensor | g[:,None]*(x-y)
cosim x | overwritten | g[:,None]*y/a/b
cosim x | unclear | g[:,None]*(y/a/b-out[:,None]*x/a)
dconv x | axis permuted | nn.functional.conv1d(g,w.flip(2),stride=2)
dconv w | axis permuted | einsum("nit,notk->iok",x,g.unfold(2,3,2)).flip(2)
dconv x | transposed | nn.functional.conv1d(g,w.transpose(0,1),stride=2)
avg x | factor 4 | g.repeat_interleave(2,1).repeat_interleave(2,2)
avg x | axis permuted, order | g.repeat(1,2,1).repeat_interleave(2,2)/4
bce x | sign | g[:,None]*(t-x.sigmoid())/4
bce x | overwritten | g[:,None]*x.sigmoid()/4
gath x | overwritten | zeros_like(x).scatter(1,t,g*x.gather(1,t).exp())
gath x | derivative missing | zeros_like(x).scatter_add(1,t,g)
ema x | transposed, axis permuted, order | stack([g[:,:i+1].matmul(.5**arange(i,-1,-1).to(x)) for i in (0,1,2,3)],1)
trace x | transposed | g[:,None]*y
trace y | transposed, wrong tensor | g[:,:,None]*x.mT
'''

tables = {'second': (layers, table), 'order': (order_layers, order_table), 'apart': (apart_layers, apart_table),
          'fresh': (fresh_layers, fresh_table)}
