"""The zero of normalised scores."""

# Mean undiscounted return of uniformly random actions, 1000 episodes, benchmarks/results/random-returns.csv
RANDOM_RETURNS: dict[str, float] = {
    "HalfCheetah-v5": -282.80,
    "Hopper-v5": 17.99,
    "Walker2d-v5": 1.77,
    "Ant-v5": -53.42,
    "Reacher-v5": -42.76,
    "Pusher-v5": -149.39,
    "PaperAnt-v4": 155.73,
    "Pendulum-v1": -1234.82,
}
