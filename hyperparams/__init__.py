"""rl-zoo3 hyperparameters, one YAML file per algorithm and network."""
