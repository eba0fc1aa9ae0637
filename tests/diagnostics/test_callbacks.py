import csv

from stable_baselines3 import SAC, TD3
from stable_baselines3.common.logger import configure

from sb3_hyper.diagnostics.callbacks import LearningRateCallback
from tests.conftest import PointEnv


def logged(model, folder):
    model.set_logger(configure(str(folder), ["csv"]))
    model.learn(60, callback=LearningRateCallback(), log_interval=1)
    model.logger.close()
    with open(folder / "progress.csv", newline="") as file:
        return list(csv.DictReader(file))[-1]


def test_both_rates_are_logged(tmp_path):
    policy_kwargs = {"preset": "slim", "net_arch": [8], "critic_learning_rate": 5e-4}
    row = logged(TD3("HyperPolicy", PointEnv(), 1e-3, learning_starts=10, policy_kwargs=policy_kwargs), tmp_path)
    assert float(row["train/critic_learning_rate"]) == 5e-4
    assert float(row["train/actor_learning_rate"]) == 1e-3


def test_stock_models_can_be_logged_too(tmp_path):
    row = logged(SAC("MlpPolicy", PointEnv(), 1e-3, learning_starts=10, policy_kwargs={"net_arch": [8]}), tmp_path)
    assert float(row["train/critic_learning_rate"]) == 1e-3
