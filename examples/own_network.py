"""
Networks without an algorithm: describe a hypernetwork, generate weights, evaluate many actions per state.

    python examples/own_network.py
"""

import argparse

import torch as th

from sb3_hyper import HyperNetwork, HyperNetworkSpec

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=500)
args = parser.parse_args()
th.manual_seed(0)

# f(x; a) = sin(a x): a hypernetwork reads a and generates the weights of a network of x
spec = HyperNetworkSpec(widths=(64,), n_blocks=1, primary="normed", dynamic_widths=(32, 32))
net = HyperNetwork(meta_dim=1, base_dim=1, output_dims=1, spec=spec)
optimizer = th.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(args.steps):
    a = 1 + 2 * th.rand(64, 1)
    x = 4 * th.rand(64, 16, 1) - 2  # 16 values of x for each a: the weights are generated once per a
    loss = (net(a, x) - th.sin(a.unsqueeze(1) * x)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

weights = net.generate(th.tensor([[1.0], [3.0]]))
print(f"mean squared error {loss.item():.4f}; first-layer weights of two tasks: {tuple(weights[0].weight.shape)}")
