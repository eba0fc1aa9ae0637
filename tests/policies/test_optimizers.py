import copy
import pickle

import pytest
import torch as th
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.utils import LinearSchedule

from sb3_hyper.policies.optimizers import fused_where_possible

ALGORITHMS = [TD3, SAC]


def make_model(algorithm, env, learning_rate=1e-3, **policy_kwargs):
    policy_kwargs = {"preset": "slim", "net_arch": [16], **policy_kwargs}
    return algorithm("HyperPolicy", env, learning_rate, policy_kwargs=policy_kwargs, learning_starts=10, batch_size=8, seed=0)


def rates_of_steps(optimizer):
    """Record the learning rate of every step from now on."""
    rates = []
    optimizer.register_step_post_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    return rates


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_critics_rate_holds_while_the_actor_follows_the_schedule(env, algorithm):
    model = make_model(algorithm, env, LinearSchedule(1e-3, 0.0, 1.0), critic_learning_rate=5e-4)
    critic, actor = rates_of_steps(model.critic.optimizer), rates_of_steps(model.actor.optimizer)
    model.learn(30)
    assert set(critic) == {5e-4}
    assert len(critic) == 20
    assert actor == sorted(actor, reverse=True)
    assert actor[0] < 1e-3
    assert actor[-1] < actor[0]


def test_a_schedule_that_the_critic_does_not_follow_is_told(env):
    schedule = LinearSchedule(1e-3, 0.0, 1.0)
    with pytest.warns(UserWarning, match="the critic keeps 0.0003.*critic_learning_rate=None"):
        make_model(TD3, env, schedule)
    model = make_model(TD3, env, schedule, critic_learning_rate=None)  # a warning would be an error
    rates = rates_of_steps(model.critic.optimizer)
    model.learn(30)
    assert rates[-1] < rates[0] < 1e-3
    make_model(TD3, env, schedule, critic="mlp")


def test_the_rate_holds_in_every_parameter_group(env):
    model = make_model(TD3, env, critic_learning_rate=5e-4)
    model.critic.optimizer.add_param_group({"params": [th.nn.Parameter(th.zeros(1))], "lr": 1.0})
    model.learn(12)
    assert [group["lr"] for group in model.critic.optimizer.param_groups] == [5e-4, 5e-4]


def test_the_step_is_really_of_that_size(env):
    model = make_model(TD3, env, critic_learning_rate=1e-7)
    model.learn(10)
    before = [parameter.clone() for parameter in model.critic.parameters()]
    model.train(gradient_steps=1, batch_size=8)
    change = max((new - old).abs().max().item() for new, old in zip(model.critic.parameters(), before, strict=True))
    assert 1e-8 < change < 3e-7  # Adam's first step is the learning rate, up to float32 rounding of the weight


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_critics_rate_survives_saving_loading_and_going_on(env, algorithm, tmp_path):
    model = make_model(algorithm, env, critic_learning_rate=5e-4)
    model.learn(12)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=env)
    critic, actor = rates_of_steps(loaded.critic.optimizer), rates_of_steps(loaded.actor.optimizer)
    loaded.learn(14, reset_num_timesteps=False)
    assert set(critic) == {5e-4}
    assert set(actor) == {1e-3}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_the_critics_rate_survives_copies_of_the_policy(env, duplicate):
    model = make_model(TD3, env, critic_learning_rate=5e-4)
    model.policy = duplicate(model.policy)
    model._create_aliases()
    rates = rates_of_steps(model.critic.optimizer)
    model.learn(14)
    assert set(rates) == {5e-4}


@pytest.mark.parametrize(
    ("policy_kwargs", "expected"),
    [
        ({"preset": "slim"}, 3e-4),
        ({"preset": "slim", "critic_learning_rate": "auto"}, 3e-4),
        ({"preset": "slim", "network_kwargs": {"critic_learning_rate": 1e-4}}, 1e-4),
        ({"preset": "slim", "critic_learning_rate": None}, 1e-3),
        ({"critic": "mlp"}, 1e-3),
        ({"critic": "layernorm_mlp"}, 1e-3),
        ({"critic": "mlp_small"}, 1e-3),
        ({"critic": "mlp", "critic_learning_rate": 2e-4}, 2e-4),
        ({"preset": "paper", "network_kwargs": {"widths": [16]}}, 5e-5),
    ],
)
def test_default_rates(env, policy_kwargs, expected):
    model = make_model(TD3, env, **policy_kwargs)
    rates = rates_of_steps(model.critic.optimizer)
    model.learn(12)
    assert set(rates) == {expected}


def test_adam_is_fused_unless_the_user_chose_an_implementation(env):
    assert make_model(TD3, env).critic.optimizer.defaults["fused"]
    assert make_model(SAC, env).actor.optimizer.defaults["fused"]
    assert make_model(SAC, env).policy.optimizer_kwargs == {}
    model = make_model(TD3, env, optimizer_kwargs={"foreach": True, "weight_decay": 0.1})
    assert not model.critic.optimizer.defaults["fused"]
    assert model.critic.optimizer.defaults["weight_decay"] == 0.1
    assert model.policy.optimizer_kwargs == {"foreach": True, "weight_decay": 0.1}


def test_other_optimizers_are_left_alone(env):
    assert fused_where_possible(th.optim.RMSprop, {"alpha": 0.9}) == {"alpha": 0.9}
    model = make_model(TD3, env, optimizer_class=th.optim.RMSprop)
    assert isinstance(model.critic.optimizer, th.optim.RMSprop)


@pytest.mark.parametrize("given", [LinearSchedule(1e-3, 0.0, 1.0), "lin_3e-4"])
def test_a_schedule_of_the_critics_own_is_refused_with_advice(env, given):
    with pytest.raises(ValueError, match="For a schedule give None"):
        make_model(TD3, env, critic_learning_rate=given)
