"""What PEARL and MAML refuse in the same words."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_hyper import MAML, PEARL, MetaEvalCallback, reset_to_tasks
from sb3_hyper.meta.maml.policies import MAMLPolicy
from sb3_hyper.meta.pearl.policies import HyperPEARLPolicy, PEARLPolicy

ALGORITHMS = {"PEARL": PEARL, "MAML": MAML}
POLICIES = {"PEARL": PEARLPolicy, "MAML": MAMLPolicy}


class Oddly(gym.Wrapper):
    """An environment with other spaces."""

    def __init__(self, env, observation_space=None, action_space=None):
        super().__init__(env)
        self.observation_space = observation_space or env.observation_space
        self.action_space = action_space or env.action_space


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observation_space": spaces.Dict({"a": spaces.Box(-1, 1, (3,))})}, "{} needs flat Box observations, got Dict"),
        ({"observation_space": spaces.Box(0, 255, (3, 8, 8), np.uint8)}, "{} needs flat Box observations, got Box"),
        ({"action_space": spaces.Discrete(2)}, r"{} needs flat Box actions, got Discrete\(2\)"),
    ],
)
def test_other_spaces_are_refused_before_sb3_recommends_policies_that_are_not_there(name, kwargs, message):
    with pytest.raises(ValueError, match=message.format(name)):
        ALGORITHMS[name]("MlpPolicy", Oddly(gym.make("PointGoal-v0"), **kwargs))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_policies_refuse_other_spaces_too(name):
    cls = POLICIES[name]
    with pytest.raises(ValueError, match=f"{cls.__name__} needs flat Box observations, got Discrete"):
        cls(spaces.Discrete(3), spaces.Box(-1, 1, (2,)), lambda _: 1e-3)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("policy", ["MlpPolicy", "HyperPolicy"])
def test_misspelled_arguments_of_the_policy_are_named_with_those_that_are_accepted(name, policy):
    message = "knows no netarch, preet. Accepted: .*net_arch, .*optimizer_kwargs"
    with pytest.raises(ValueError, match=message) as error:
        ALGORITHMS[name](policy, "PointGoal-v0", policy_kwargs={"netarch": [4], "preet": "slim"})
    assert ("preset" in str(error.value)) == (policy == "HyperPolicy" or name == "PEARL")


def test_who_has_a_preset_is_told():
    with pytest.raises(ValueError, match=r"MAMLPolicy knows no preset. Accepted: .* are for .HyperPolicy.") as error:
        MAML("MlpPolicy", "PointGoal-v0", policy_kwargs={"preset": "slim"})
    assert "context_dim" not in str(error.value)  # the algorithm's own business
    with pytest.raises(ValueError, match=r"HyperMAMLPolicy knows no netarch. Accepted: .*preset\.$"):
        MAML("HyperPolicy", "PointGoal-v0", policy_kwargs={"preset": "slim", "netarch": [4]})


class Popping(HyperPEARLPolicy):
    """A policy with an argument of its own that no signature tells of."""

    def __init__(self, *args, **kwargs):
        self.extra = kwargs.pop("extra", 1)
        super().__init__(*args, **kwargs)


def test_policies_may_do_as_they_like_with_their_arguments():
    kwargs = {"extra": 3, "preset": "slim"}
    model = PEARL(Popping, "PointGoal-v0", policy_kwargs=kwargs, n_train_tasks=2, n_test_tasks=1)
    assert model.policy.extra == 3
    with pytest.raises(ValueError, match=r"Popping knows no exta\. Accepted: actor, "):
        PEARL(Popping, "PointGoal-v0", policy_kwargs={"exta": 3})


@pytest.mark.parametrize("name", ALGORITHMS)
def test_learning_without_an_environment_is_refused_with_words(name, tmp_path):
    ALGORITHMS[name]("MlpPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=1).save(tmp_path / "model")
    with pytest.raises((ValueError, AssertionError), match=r"env"):
        ALGORITHMS[name].load(tmp_path / "model").learn(1)


def test_initial_steps_that_are_more_than_all_are_warned_of():
    kwargs = dict(n_train_tasks=3, n_test_tasks=1, n_initial_steps=20, batch_size=4, gradient_steps=1, meta_batch_size=2)
    kwargs |= dict(n_prior_steps=20, n_posterior_steps=20, n_tasks_per_iteration=1, policy_kwargs=dict(net_arch=[4]))
    with pytest.warns(UserWarning, match="20 in each training task, are 60, more than total_timesteps=10"):
        PEARL("MlpPolicy", "PointGoal-v0", **kwargs).learn(10)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"critic_meta": "z"}, "critic_meta is for"),
        ({"critic_meta": "z", "actor": "hyper"}, "critic_meta is for"),
        ({"network_kwargs": {"widths": [8]}}, "network_kwargs are for"),
    ],
)
def test_arguments_of_hypernetworks_that_nobody_reads_are_warned_of(kwargs, message):
    with pytest.warns(UserWarning, match=message):
        PEARL("MlpPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=1, policy_kwargs=kwargs)


def test_a_task_set_is_not_a_list_of_tasks():
    model = MAML("MlpPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=1)
    with pytest.raises(ValueError, match="got a TaskSet: give some of its train, test or ood tasks"):
        reset_to_tasks(make_vec_env("PointGoal-v0", 2), model.tasks)


def test_tasks_that_are_the_same_for_training_and_test_are_evaluated_once():
    model = MAML("MlpPolicy", make_vec_env("HalfCheetahFwdBack-v0", 2), n_train_tasks=2, n_test_tasks=2)
    callback = MetaEvalCallback(make_vec_env("HalfCheetahFwdBack-v0", 2))
    callback.init_callback(model)
    assert list(callback.evaluated) == ["test"]
    other = MAML("MlpPolicy", "PointGoal-v0", n_train_tasks=2, n_test_tasks=2)
    callback = MetaEvalCallback(make_vec_env("PointGoal-v0", 2))
    callback.init_callback(other)
    assert list(callback.evaluated) == ["test", "train"]


def make(name, env, **kwargs):
    """A model that learns from three tasks in a moment."""
    settings = {
        "PEARL": dict(n_initial_steps=20, n_prior_steps=20, n_posterior_steps=0, n_tasks_per_iteration=1, gradient_steps=1),
        "MAML": dict(meta_batch_size=3, n_episodes=1),
    }
    return ALGORITHMS[name]("MlpPolicy", env, n_train_tasks=3, n_test_tasks=3, **{**settings[name], **kwargs})


@pytest.mark.parametrize("name", ALGORITHMS)
def test_callbacks_see_the_episodes_that_count_and_no_others(name):
    class Counting(BaseCallback):
        n_dones = n_infos = 0

        def _on_step(self):
            self.n_dones += int(np.sum(self.locals["dones"]))
            self.n_infos += sum("episode" in info for info in self.locals["infos"])
            return True

    callback = Counting()
    model = make(name, make_vec_env("PointGoal-v0", n_envs=7))  # more than there are tasks
    model.learn(120, callback)
    assert callback.n_infos == callback.n_dones == model.num_timesteps / 20


class Succeeding(gym.Wrapper):
    """Says that an episode has succeeded if the goal is on the right."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "is_success": self.unwrapped.task["goal"][0] > 0}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_successes_are_kept_and_logged(name, tmp_path, capsys):
    env = make_vec_env("PointGoal-v0", n_envs=2, wrapper_class=Succeeding)
    model = make(name, env, task_seed=2)
    expected = [float(task["goal"][0] > 0) for task in model.tasks.test]
    assert 0 < np.mean(expected) < 1
    callback = MetaEvalCallback(env, eval_freq=1, log_path=str(tmp_path), verbose=1)
    model.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    model.learn(60, callback)
    model.logger.close()
    with np.load(tmp_path / "adaptation.npz") as data:
        assert data["successes_test"].shape == data["returns_test"].shape
        assert (data["successes_test"] == np.array(expected)[:, None]).all()
    with np.load(tmp_path / "evaluations.npz") as data:
        np.testing.assert_array_equal(data["successes"][-1], expected)
    assert f"Success rate: {100 * np.mean(expected):.2f}%" in capsys.readouterr().out
    assert f"{np.mean(expected)}" in (tmp_path / "log" / "progress.csv").read_text()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_not_said_of_success_is_not_known(name, tmp_path, capsys):
    class OnlySuccesses(Succeeding):
        says = True

        def step(self, action):
            *rest, info = super().step(action)
            if not (info["is_success"] and self.says):
                del info["is_success"]
            return *rest, info

    env = make_vec_env("PointGoal-v0", n_envs=1, wrapper_class=OnlySuccesses)
    model = make(name, env, task_seed=2)
    callback = MetaEvalCallback(env, eval_freq=10**6, log_path=str(tmp_path), verbose=1)
    callback.init_callback(model)
    model.learn(60)
    OnlySuccesses.says = False
    callback.evaluate()
    assert "Success rate" not in capsys.readouterr().out
    OnlySuccesses.says = True
    callback.evaluate()
    assert "Success rate: 100.00%" in capsys.readouterr().out
    # another callback goes on with the file, as after an interruption
    again = MetaEvalCallback(env, eval_freq=10**6, log_path=str(tmp_path))
    again.evaluations_timesteps, again.evaluations_results = list(callback.evaluations_timesteps), callback.evaluations_results
    again.evaluations_length = callback.evaluations_length
    again.init_callback(model)
    again.evaluate()
    expected = [1.0 if task["goal"][0] > 0 else np.nan for task in model.tasks.test]
    with np.load(tmp_path / "adaptation.npz") as data:
        assert len(data["successes_test"]) == len(data["timesteps"]) == 3
        assert np.isnan(data["successes_test"][0]).all()
        np.testing.assert_array_equal(data["successes_test"][2, :, -1], expected)
    with np.load(tmp_path / "evaluations.npz") as data:
        assert data["successes"].shape == data["results"].shape


@pytest.mark.parametrize("name", ALGORITHMS)
def test_where_nothing_is_said_of_success_nothing_is_kept(name, tmp_path):
    env = make_vec_env("PointGoal-v0", n_envs=2)
    model = make(name, env)
    model.learn(60, MetaEvalCallback(env, eval_freq=1, log_path=str(tmp_path)))
    reset_to_tasks(env, model.tasks.test[:2])
    assert np.isnan(model.adapt(env, 1).successes).all()
    for file in ("adaptation.npz", "evaluations.npz"):
        with np.load(tmp_path / file) as data:
            assert not any("successes" in key for key in data.files)
