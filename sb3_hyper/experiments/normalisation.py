"""The zero of normalised scores."""

# Mean undiscounted return of uniformly random actions, 1000 episodes, benchmarks/results/random-returns.csv
RANDOM_RETURNS: dict[str, float] = {
    "HalfCheetah-v5": -282.80,
    "Hopper-v5": 17.99,
    "Walker2d-v5": 1.77,
    "Ant-v5": -53.42,
    "Reacher-v5": -42.76,
    "Pusher-v5": -149.39,
    "HalfCheetah-v4": -282.80,
    "Hopper-v4": 18.99,
    "Walker2d-v4": 2.68,
    "Ant-v4": -52.31,
    "PaperAnt-v4": 155.73,
    "Pendulum-v1": -1234.82,
    # task environments: one episode in each of 50 test tasks, benchmarks/results/task-returns.csv
    "PointGoal-v0": -20.60,
    "HalfCheetahVel-v0": -361.26,
    "HalfCheetahVelMedium-v0": -591.30,
    "HalfCheetahFwdBack-v0": -10.77,
    "AntVel-v0": -45.56,
    "AntFwdBack-v0": 2.12,
    "AntForwardBackward-v0": -0.77,
    "AntGoal-v0": -682.03,
    "HumanoidDir-v0": 109.14,
    "WalkerRandomParams-v0": -0.32,
    "HopperRandomParams-v0": 9.45,
}
