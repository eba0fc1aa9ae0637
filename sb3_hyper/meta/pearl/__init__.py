"""PEARL: meta-reinforcement learning by probabilistic context variables (Rakelly et al., ICML 2019)."""
