"""Independent updates from one model."""

import contextlib

import numpy as np
import pytest

from sb3_hyper import MAML
from sb3_hyper.cli import main
from sb3_hyper.experiments.update_noise import plot_populations, read_populations, write_populations
from sb3_hyper.meta.maml.update_noise import noise_statistics, noise_table, update_noise
from tests.meta.test_maml import ITERATION, make, parameters, same


def test_statistics_are_those_of_the_paper():
    statistics = noise_statistics(np.array([-1.0, -3.0]))
    assert statistics == (-2.0, 1.0, 0.5)


def test_the_table_is_about_means_over_tasks():
    returns = np.array(
        [[[1.0, 10.0], [3.0, 30.0]], [[5.0, 0.0], [7.0, 0.0]], [[2.0, 5.0], [2.0, 5.0]]]
    )  # updates, tasks, steps
    table = noise_table({"a": returns})
    assert [(when, statistics.mean) for _, when, statistics in table] == [("before", 10 / 3), ("after", 25 / 3)]
    assert table[0][2].variance == pytest.approx(np.var([2, 6, 2]))
    assert table[1][2].variance == pytest.approx(np.var([20, 0, 5]))


@pytest.mark.parametrize("arm", ["vanilla", "promp"])
def test_updates_start_from_the_same_parameters_and_leave_them(arm):
    model = make(arm)
    model.learn(ITERATION)
    before, steps = parameters(model), model.num_timesteps
    returns = update_noise(model, 3, seed=1)
    assert returns.shape == (3, 3, 2)
    assert same(before, parameters(model))
    assert model.num_timesteps == steps
    assert len({tuple(row) for row in returns[..., 0].tolist()}) == 3  # each on its own data
    np.testing.assert_array_equal(returns, update_noise(model, 3, seed=1))
    np.testing.assert_array_equal(returns[:2], update_noise(model, 3, seed=1)[:2])
    # without an update, the same random numbers give the same score
    model.target_kl, model.learning_rate = 1e-12, 0.0
    model.lr_schedule = lambda progress: 0.0
    still = update_noise(model, 3, seed=1)
    assert np.ptp(still, axis=0).max() < 0.01


def test_a_model_without_an_environment_can_not_learn(tmp_path):
    model = make()
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="learns in the model's own environment"):
        update_noise(MAML.load(tmp_path / "model.zip"), 2, env=model.env)


def test_populations_survive_the_file(tmp_path):
    populations = {"a": np.random.randn(4, 2, 2).round(3), "b": np.random.randn(3, 2, 2).round(3)}
    write_populations(tmp_path / "noise.csv", populations)
    back = read_populations(tmp_path / "noise.csv")
    assert list(back) == ["a", "b"]
    for label, returns in populations.items():
        np.testing.assert_allclose(back[label], returns)
    rows = noise_table(back)
    assert [(label, when) for label, when, _ in rows] == [("a", "before"), ("a", "after"), ("b", "before"), ("b", "after")]
    plot_populations(back).savefig(tmp_path / "noise.png")


def test_the_command(tmp_path, capsys):
    model = make("context", n_envs=2)
    model.learn(ITERATION)
    model.save(tmp_path / "context.zip")
    arguments = ["update-noise", str(tmp_path / "context.zip"), "--env", "PointGoal-v0", "--updates", "2", "--envs", "4"]
    assert main([*arguments, "--output", str(tmp_path / "noise.csv")]) == 0
    assert "coefficient" in capsys.readouterr().out
    assert (tmp_path / "noise.csv").is_file()
    assert (tmp_path / "noise.png").is_file()
    assert main(["update-noise", str(tmp_path / "no.zip"), "--env", "PointGoal-v0"]) == 2
    capsys.readouterr()
    for more, message in ((["--updates", "1"], "--updates 2 at least"), ([str(tmp_path / "context.zip")], "given twice")):
        assert main([arguments[0], *more, *arguments[1:4]]) == 2
        assert message in capsys.readouterr().out.replace("\n", " ")


def test_what_is_measured_is_not_lost_with_what_comes_after(tmp_path, monkeypatch):
    model = make("context", n_envs=2)
    model.learn(ITERATION)
    for name in ("first.zip", "second.zip"):
        model.save(tmp_path / name)
    calls = []

    def measure(model, *args, **kwargs):
        calls.append(model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.ones((2, 3, 2))

    monkeypatch.setattr("sb3_hyper.experiments.update_noise.update_noise", measure)
    models = [str(tmp_path / "first.zip"), str(tmp_path / "second.zip")]
    output = tmp_path / "noise.csv"
    with contextlib.suppress(KeyboardInterrupt):
        main(["update-noise", *models, "--env", "PointGoal-v0", "--envs", "4", "--output", str(output)])
    assert list(read_populations(output)) == ["first"]
