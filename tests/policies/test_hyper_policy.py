import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import DDPG, SAC, TD3

from benchmarks.plain import PlainSACPolicy, PlainTD3Policy
from sb3_hyper import HyperSACPolicy, HyperTD3Policy, HyperTQCPolicy
from sb3_hyper.networks.spec import resolve_spec
from sb3_hyper.policies import cpu_cost
from sb3_hyper.policies.critic_names import CRITICS, q_network_maker, reads_spec
from tests.networks.test_hypernetwork import port

ALGORITHMS = [TD3, SAC]
POLICIES = {TD3: HyperTD3Policy, SAC: HyperSACPolicy}
TINY = {"preset": "slim", "network_kwargs": {"widths": [8], "dynamic_widths": [4]}, "net_arch": [8]}

CONTEXT = {"actor": "hyper", "context_slice": (0, 1)}


class Plain(th.nn.Module):
    """A critic of one's own."""

    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__()
        self.net = th.nn.Bilinear(state_dim, action_dim, n_outputs)

    def forward(self, states, actions):
        return self.net(states, actions)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_mlp_critic_is_stock_sb3_bit_for_bit(env, algorithm):
    policies = {
        "MlpPolicy": {"net_arch": [256, 256]},
        "HyperPolicy": {"critic": "mlp", "optimizer_kwargs": {"foreach": False}},
    }
    trained = []
    for policy, policy_kwargs in policies.items():
        model = algorithm(policy, env, 1e-3, learning_starts=20, seed=3, policy_kwargs=policy_kwargs, device="cpu")
        trained.append(model.learn(60).policy.state_dict())
    for name, tensor in trained[0].items():
        assert th.equal(tensor, trained[1][name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "plain_policy"), [(TD3, PlainTD3Policy), (SAC, PlainSACPolicy)])
@pytest.mark.filterwarnings("ignore:A critic of")
def test_training_equals_training_the_plain_version(env, algorithm, plain_policy):
    # plain gradient descent: Adam would blow rounding errors up where gradients vanish
    policy_kwargs = {"net_arch": [256, 256], "optimizer_class": th.optim.SGD}
    arguments = {"learning_rate": 1e-3, "learning_starts": 20, "seed": 3}
    plain = algorithm(plain_policy, env, policy_kwargs=policy_kwargs.copy(), **arguments)
    ours = algorithm(
        "HyperPolicy", env, policy_kwargs={"preset": "paper", "critic_learning_rate": None, **policy_kwargs}, **arguments
    )
    ours.actor.load_state_dict(plain.actor.state_dict())
    if algorithm is TD3:
        ours.actor_target.load_state_dict(plain.actor.state_dict())
    for ours_critic, plain_critic in ((ours.critic, plain.critic), (ours.critic_target, plain.critic_target)):
        port(plain_critic.networks, ours_critic.q_network)
    first_weight = ours.critic.q_network.primary.layers[0].weight.detach().clone()
    for model in (plain, ours):
        model.set_random_seed(0)
        model.learn(30)
    assert not th.equal(first_weight, ours.critic.q_network.primary.layers[0].weight)
    for member, network in enumerate(plain.critic.networks):
        ours_weight = ours.critic.q_network.primary.layers[0].weight[member]
        th.testing.assert_close(ours_weight, network.primary[0].weight.T, rtol=1e-4, atol=1e-6)
        ours_bias = ours.critic.q_network.heads.linear.bias[member, -2]
        th.testing.assert_close(ours_bias, network.head2.bias.bias[0], rtol=1e-4, atol=1e-6)
    th.testing.assert_close(ours.actor.state_dict(), plain.actor.state_dict(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("algorithm", [TD3, SAC, DDPG])
def test_answers_to_a_name(env, algorithm):
    model = algorithm("HyperPolicy", env, policy_kwargs=TINY.copy())
    assert isinstance(model.policy, HyperSACPolicy if algorithm is SAC else HyperTD3Policy)
    assert model.critic.n_critics == (1 if algorithm is DDPG else 2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_net_arch_is_the_actors(env, algorithm):
    assert algorithm("HyperPolicy", env, policy_kwargs={"preset": "slim"}).policy.net_arch == [256, 256]
    policy_kwargs = {"critic": "mlp", "net_arch": {"pi": [7], "qf": [9]}}
    model = algorithm("HyperPolicy", env, policy_kwargs=policy_kwargs)
    assert model.actor.net_arch == [7]
    assert model.critic.q_networks[0][0].out_features == 9


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"critic": "sa_hyper", "net_arch": {"pi": [7], "qf": [9]}}, 'net_arch."qf".*is for critic="mlp", .*\'sa_hyper\''),
        ({"critic": "sa_hyper", "activation_fn": th.nn.Tanh}, "activation_fn is for .* not used by critic='sa_hyper'"),
        (
            {"critic": "mlp", "actor": "hyper", "context_slice": (0, 1), "activation_fn": th.nn.Tanh},
            "activation_fn is for .* not used by actor='hyper'",
        ),
        (
            {"critic": "mlp", "network_kwargs": {"widths": [16]}},
            "network_kwargs is for the critics 'sa_hyper', .* not used by 'mlp'",
        ),
        ({"critic": "mlp_small", "network_kwargs": {"widths": [16]}}, "network_kwargs .* not used by 'mlp_small'"),
        ({"critic": "mlp_large", "network_kwargs": {"widths": [16]}}, "network_kwargs .* not used by 'mlp_large'"),
        ({"critic": "resnet35", "network_kwargs": {"widths": [16]}}, "network_kwargs .* not used by 'resnet35'"),
        ({"critic": "q_d2rl", "network_kwargs": {"widths": [16]}}, "network_kwargs .* not used by 'q_d2rl'"),
        ({"critic": Plain, "network_kwargs": {"widths": [16]}}, "network_kwargs .* not used by .*Plain"),
        (
            {"critic": "mlp", **CONTEXT, "actor_network_kwargs": {"n_blocks": 1}, "network_kwargs": {"n_blocks": 2}},
            "network_kwargs .* for actor=\"hyper\" without actor_network_kwargs: it is not used by 'mlp'",
        ),
        ({"actor_network_kwargs": {"n_blocks": 1}}, 'actor_network_kwargs is for actor="hyper"'),
        (
            {"critic": "layernorm_mlp", "network_kwargs": {"critic_learning_rate": 1e-4}},
            "critic_learning_rate in network_kwargs is for hypernetworks, .* 'layernorm_mlp': policy_kwargs=",
        ),
        (
            {"critic": "mlp", **CONTEXT, "network_kwargs": {"critic_learning_rate": 1e-4}},
            "critic_learning_rate in network_kwargs is for hypernetworks",
        ),
        ({**CONTEXT, "net_arch": [7]}, r"net_arch is for \"mlp\", and not used by critic='sa_hyper' and actor='hyper'"),
        ({**CONTEXT, "critic": "q_d2rl", "net_arch": {"pi": [7], "qf": [9]}}, "net_arch is for .*='q_d2rl' and actor='hyper'"),
    ],
)
def test_what_is_not_used_is_said(env, policy_kwargs, message):
    with pytest.warns(UserWarning, match=message) as warned:
        TD3("HyperPolicy", env, policy_kwargs=policy_kwargs)
    assert len(warned) == 1


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        *(
            {"critic": critic, "network_kwargs": {"n_blocks": 1}}
            for critic in ("sa_hyper", "resnet_features", "layernorm_mlp")
        ),
        {"critic": "mlp_small", **CONTEXT, "network_kwargs": {"widths": [16]}},  # the actor's
        {"critic": "mlp_small", "preset": resolve_spec("slim"), "critic_learning_rate": 1e-4, "net_arch": [7]},
        {"critic": "mlp", **CONTEXT, "net_arch": [7]},  # the critic's
        {**CONTEXT, "net_arch": [256, 256]},  # the default, which a saved policy gives
        {**CONTEXT, "actor_network_kwargs": {"n_blocks": 1}, "network_kwargs": {"widths": [16]}},
    ],
)
def test_what_is_used_is_not_warned_of_nor_what_is_loaded(env, policy_kwargs, tmp_path):
    model = SAC("HyperPolicy", env, policy_kwargs=policy_kwargs)  # warnings are errors
    for part in (model, model.policy):
        part.save(tmp_path / "saved")
        type(part).load(tmp_path / "saved")


def test_the_critics_that_read_the_preset_are_those_whose_size_changes_with_it(env):
    def n_parameters(critic, preset):
        network = q_network_maker(critic, resolve_spec(preset))(5, 2, 1, 1)
        return sum(parameter.numel() for parameter in network.parameters())

    for critic in set(CRITICS) - {"mlp"}:
        assert reads_spec(critic) == (n_parameters(critic, "slim") != n_parameters(critic, "bounded")), critic
    assert not reads_spec("mlp")
    assert not reads_spec(Plain)


def test_numbers_may_be_numpys(env):
    assert TD3("HyperPolicy", env, policy_kwargs={**TINY, "n_critics": np.int64(3)}).critic.n_critics == 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        (
            {"critic": "hyper"},
            "Unknown critic 'hyper'. Accepted: 'sa_hyper', 'as_hyper', .*'layernorm_mlp', or a function that makes one",
        ),
        ({"preset": "small"}, "Unknown preset 'small'. Accepted: 'paper', 'slim'"),
        ({"critic_learning_rate": "1e-3"}, "critic_learning_rate .*'1e-3'.*0.001"),
        ({"critic_learning_rate": 0}, "critic_learning_rate .*got 0"),
        ({"network_kwargs": {"dynamic_widths": [0]}}, r"dynamic_widths .*\[0\]"),
        ({"network_kwargs": {"depth": 3}}, "Given: depth. Accepted: 'widths'"),
        ({"critc": "mlp"}, "knows no critc. Accepted: activation_fn, actor, actor_network_kwargs, .*critic, "),
        ({"n_critics": 0}, "n_critics must be a whole number of at least 1, got 0"),
        ({"n_critics": "2"}, "n_critics .* got '2'"),
    ],
)
def test_bad_arguments_get_a_sentence(env, algorithm, policy_kwargs, message):
    with pytest.raises(ValueError, match=message):
        algorithm("HyperPolicy", env, policy_kwargs=policy_kwargs)


@pytest.mark.parametrize(
    ("algorithm", "policy", "message"),
    [
        (TD3, HyperSACPolicy, "HyperSACPolicy has no target actor, which TD3 and DDPG ask for: HyperTD3Policy, "),
        (DDPG, HyperTQCPolicy, "HyperTQCPolicy has no target actor"),
        (SAC, HyperTD3Policy, r"knows no use_sde.* The strings \"HyperPolicy\", .* name those that fit"),
    ],
)
def test_the_policy_of_another_algorithm_is_told(env, algorithm, policy, message):
    with pytest.raises((AttributeError, ValueError), match=message):
        algorithm(policy, env)


@pytest.mark.parametrize("critic", ["sa_hyper", "mlp"])
@pytest.mark.parametrize(
    ("algorithm", "policy", "message"),
    [
        (
            TQC,
            HyperSACPolicy,
            "no quantiles, which TQC asks for: HyperTQCPolicy, HyperTQCCnnPolicy and HyperTQCMultiInputPolicy",
        ),
        (CrossQ, HyperSACPolicy, "no batch normalisation, which CrossQ asks for"),
        (CrossQ, HyperTQCPolicy, "no batch normalisation, which CrossQ asks for"),
    ],
)
def test_the_policy_of_another_algorithm_is_told_when_learning_starts(env, algorithm, policy, message, critic):
    model = algorithm(policy, env, learning_starts=5, batch_size=4, policy_kwargs={"critic": critic, "net_arch": [8]})
    with pytest.raises(AttributeError, match=message):
        model.learn(10)


def test_policies_without_a_target_actor_say_so_to_who_asks(env):
    policy = SAC("HyperPolicy", env, policy_kwargs=TINY).policy
    assert not hasattr(policy, "actor_target")
    with pytest.raises(AttributeError, match="has no attribute 'critics'"):
        policy.critics  # noqa: B018


@pytest.mark.parametrize("policy", [HyperTD3Policy, HyperSACPolicy])
def test_discrete_actions_get_a_sentence(policy):
    observation_space = gym.spaces.Box(-1, 1, (3,))
    with pytest.raises(ValueError, match=r"acts in continuous \(Box\) action spaces, got Discrete\(2\)"):
        policy(observation_space, gym.spaces.Discrete(2), lambda _: 1e-3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_discrete_environments_are_refused(algorithm):
    with pytest.raises(AssertionError, match=r"only supports .*Box.* but Discrete"):
        algorithm("HyperPolicy", "CartPole-v1")


@pytest.mark.parametrize("policy", [HyperTD3Policy, HyperSACPolicy])
def test_dict_observations_need_the_multi_input_policy(policy):
    observation_space = gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (3,)))
    with pytest.raises(ValueError, match="HyperMultiInputPolicy"):
        policy(observation_space, gym.spaces.Box(-1, 1, (2,)), lambda _: 1e-3, **TINY)


def test_training_the_paper_preset_on_a_cpu_warns_once(env, monkeypatch):
    model = TD3("HyperPolicy", env, learning_starts=2, batch_size=4, policy_kwargs={"preset": "paper"}, device="cpu")
    model.predict(np.zeros(5, np.float32))  # acting alone does not
    monkeypatch.setattr(cpu_cost, "SLOW_ON_CPU", 1_000_000)
    state = th.get_rng_state()
    with pytest.warns(UserWarning, match=r"million parameters.* hours for 100 000 steps.*preset=\"bounded\""):
        model.policy.set_training_mode(True)
    assert th.equal(th.get_rng_state(), state)
    model.policy.set_training_mode(True)  # warnings are errors


def test_training_the_default_does_not_warn(env):
    model = TD3("HyperPolicy", env, device="cpu")
    assert model.policy.network_spec == resolve_spec("bounded")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.policy.set_training_mode(True)


@pytest.mark.gpu
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trains_on_cuda(env, algorithm, tmp_path):
    model = algorithm("HyperPolicy", env, learning_starts=10, batch_size=8, device="cuda")
    model.learn(20)
    assert next(model.critic.parameters()).is_cuda
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=env, device="cuda")
    loaded.learn(15, reset_num_timesteps=False)
    on_cpu = algorithm.load(tmp_path / "model", device="cpu")
    obs = np.zeros(5, np.float32)
    reference = algorithm.load(tmp_path / "model", device="cuda").predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(on_cpu.predict(obs, deterministic=True)[0], reference, atol=1e-4)
