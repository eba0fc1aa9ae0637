"""MAML: model-agnostic meta-learning of policies (Finn et al., ICML 2017)."""
