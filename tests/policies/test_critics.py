import pytest
import torch as th
from sb3_contrib import TQC
from stable_baselines3 import SAC, TD3

from sb3_hyper.networks.layers import EnsembleLinear
from sb3_hyper.networks.spec import resolve_spec
from sb3_hyper.policies import critic_names
from sb3_hyper.policies.critic_names import CRITICS, q_network_maker, register_critic
from sb3_hyper.policies.critics import frozen
from tests.conftest import PointEnv

ALGORITHMS = [TD3, SAC, TQC]


def make_model(algorithm, env, **policy_kwargs):
    policy_kwargs = {"preset": "slim", "net_arch": [16], **policy_kwargs}
    return algorithm("HyperPolicy", env, policy_kwargs=policy_kwargs, learning_starts=10, batch_size=8, seed=0)


def graph_nodes(tensor):
    """The names of all operations that a backward pass from here would visit."""
    names, seen, stack = [], set(), [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.append(node.name())
            stack += [parent for parent, _ in node.next_functions]
    return names


def actor_step_values(model, obs, actions):
    critic = model.critic
    if isinstance(model, TD3):
        return critic.q1_forward(obs, actions)
    if isinstance(model, TQC):
        return critic(obs, actions).mean(dim=2)
    return th.cat(critic(obs, actions), dim=1)


COUNTS = {  # of one network, App. D.4: Hopper, HalfCheetah (as Walker2d), Ant, Ant with 27 observations
    "sa_hyper": (7_748_610, 8_537_346, 9_086_210, 9_064_706),
    "as_hyper": (9_845_762, 11_420_930, 36_087_042, 14_045_442),
    "emb_hyper": (10_633_474, 12_995_074, 38_185_474, 16_143_874),
    "mlp_small": (4_097, 6_401, 30_977, 9_473),
    "mlp_large": (8_459_301, 8_485_401, 8_763_801, 8_520_201),
    "resnet35": (4_609_537, 4_611_841, 4_636_417, 4_614_913),
    "resnet_features": (6_186_251, 6_188_555, 6_213_131, 6_191_627),
    "q_d2rl": (212_225, 221_441, 319_745, 233_729),
}


@pytest.mark.full_size
@pytest.mark.parametrize("critic", COUNTS)
def test_critics_have_the_papers_number_of_parameters(critic):
    for sizes, expected in zip(((11, 3), (17, 6), (111, 8), (27, 8)), COUNTS[critic], strict=True):
        with th.device("meta"):
            network = q_network_maker(critic, resolve_spec("paper"))(*sizes, 2, 1)
        n_shared = 5 if critic == "emb_hyper" else 0
        assert sum(parameter.numel() for parameter in network.parameters()) - n_shared == 2 * expected


@pytest.mark.parametrize(("sizes", "expected"), [((11, 3), 69_889), ((17, 6), 72_193), ((111, 8), 96_769), ((27, 8), 75_265)])
def test_mlp_standard_has_the_papers_number_of_parameters(sizes, expected):
    model = TD3("HyperPolicy", PointEnv(*sizes), buffer_size=1, policy_kwargs={"critic": "mlp"})
    assert sum(parameter.numel() for parameter in model.critic.parameters()) == 2 * expected


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_critic_speaks_sb3s_interface(env, algorithm, critic):
    model = make_model(algorithm, env, critic=critic, n_critics=3)
    obs, actions = th.randn(4, 5), th.rand(4, 2)
    values = model.critic(obs, actions)
    assert [value.shape for value in values] == [(4, 1)] * 3
    th.testing.assert_close(model.critic.q1_forward(obs, actions), values[0])
    assert not th.equal(values[0], values[1])
    th.testing.assert_close(model.critic_target(obs, actions), values)
    names = [name for name, _ in model.critic.named_parameters()]
    assert names == [name for name, _ in model.critic_target.named_parameters()]
    assert not any("features_extractor" in name for name in names)


@pytest.mark.parametrize("critic", CRITICS)
def test_tqcs_critic_speaks_contribs_interface(env, critic):
    model = make_model(TQC, env, critic=critic, n_critics=3, n_quantiles=7)
    obs, actions = th.randn(4, 5), th.rand(4, 2)
    quantiles = model.critic(obs, actions)
    assert quantiles.shape == (4, 3, 7)
    assert model.critic.quantiles_total == 21
    assert not th.equal(quantiles[:, 0], quantiles[:, 1])
    th.testing.assert_close(model.critic_target(obs, actions), quantiles)


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_train_leaves_only_the_gradient_of_the_critics_own_loss(env, algorithm, critic):
    model = make_model(algorithm, env, critic=critic)
    model.learn(10)
    gradients = []
    model.critic.optimizer.register_step_pre_hook(
        lambda *_: gradients.append([parameter.grad.clone() for parameter in model.critic.parameters()])
    )
    model.train(gradient_steps=4, batch_size=8)  # TD3 improves its actor in the second and the fourth
    assert len(gradients) == 4
    for parameter, gradient in zip(model.critic.parameters(), gradients[-1], strict=True):
        assert parameter.requires_grad
        assert th.equal(parameter.grad, gradient)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_actors_step_builds_no_graph_of_the_primary(env, algorithm):
    model = make_model(algorithm, env)
    obs, actions = th.randn(4, 5), th.rand(4, 2)
    values = model.critic(obs, actions)
    in_critic_step = graph_nodes(values if algorithm is TQC else th.cat(values))
    in_actor_step = graph_nodes(actor_step_values(model, obs, actions.requires_grad_()))
    assert in_critic_step.count("BaddbmmBackward0") == 6  # five linear maps of the slim primary and the heads
    assert "BaddbmmBackward0" not in in_actor_step
    assert in_actor_step.count("torch::autograd::AccumulateGrad") == 1  # the actions


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_actors_gradient_is_the_same_with_and_without_the_graph(env, algorithm, critic, monkeypatch):
    model = make_model(algorithm, env, critic=critic)
    obs = th.randn(4, 5)

    def actor_gradient():
        th.manual_seed(0)
        actions = model.actor(obs)
        loss = actor_step_values(model, obs, actions).amin(1).mean()
        return th.autograd.grad(loss, list(model.actor.mu.parameters()))

    without_graph = actor_gradient()
    monkeypatch.setattr("sb3_hyper.policies.critics.frozen", lambda module: th.enable_grad())
    with_graph = actor_gradient()
    assert any(gradient.any() for gradient in with_graph)
    for one, other in zip(without_graph, with_graph, strict=True):
        assert th.equal(one, other)


@pytest.mark.parametrize("critic", CRITICS)
def test_losses_on_the_action_gradient_can_reach_the_critic(env, critic):
    model = make_model(TD3, env, critic=critic)
    obs, actions = th.randn(4, 5), th.rand(4, 2).requires_grad_()

    def penalty_gradients():
        value = model.critic.q1_forward(obs, actions).sum()
        (gradient,) = th.autograd.grad(value, actions, create_graph=True)
        parameters = list(model.critic.parameters())
        return th.autograd.grad(gradient.square().sum(), parameters, allow_unused=True)

    model.critic.skip_parameter_gradients = False
    assert any(gradient is not None and gradient.any() for gradient in penalty_gradients())


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_many_actions_per_state_equal_one_at_a_time(env, algorithm, critic):
    model = make_model(algorithm, env, critic=critic, n_critics=3)
    obs, actions = th.randn(4, 5), th.rand(4, 6, 2)
    values = model.critic.action_values(obs, actions)
    assert values.shape == (3, 4, 6)
    for index in range(6):
        one = model.critic(obs, actions[:, index])
        expected = one.mean(dim=2).T if algorithm is TQC else th.cat(one, dim=1).T
        th.testing.assert_close(values[..., index], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_many_actions_cost_one_set_of_weights(env, algorithm):
    critic = make_model(algorithm, env).critic
    calls = []
    critic.q_network.primary.register_forward_hook(lambda module, args, out: calls.append(args[0].shape))
    actions = th.rand(4, 6, 2).requires_grad_()
    values = critic.action_values(th.randn(4, 5), actions)
    assert calls == [(4, 5)]
    (gradient,) = th.autograd.grad(values.sum(), actions)
    assert gradient.any()


class Bilinear(th.nn.Module):
    """Q(s, a) = s' M a"""

    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__()
        self.bilinear = th.nn.Bilinear(state_dim, action_dim, n_outputs)

    def forward(self, states, actions):
        return self.bilinear(states, actions)


@pytest.mark.parametrize("algorithm", [TD3, SAC, TQC])
def test_a_critic_of_ones_own(env, algorithm, tmp_path):
    model = make_model(algorithm, env, critic=Bilinear, n_critics=2).learn(14)
    assert len(model.critic.q_network.members) == 2
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    obs, actions = th.randn(4, 5), th.rand(4, 2)
    for one, other in zip(model.critic(obs, actions), loaded.critic(obs, actions), strict=True):
        assert th.equal(one, other)


def test_a_critic_of_ones_own_by_name(env, monkeypatch):
    monkeypatch.setattr("sb3_hyper.policies.critic_names.CRITICS", [*CRITICS])
    monkeypatch.setattr("sb3_hyper.policies.critic_names.REGISTERED", {})
    register_critic("bilinear", Bilinear)
    critic = make_model(TD3, env, critic="bilinear").critic
    assert isinstance(critic.q_network.members[1], Bilinear)
    register_critic("bilinear", Bilinear)
    assert critic_names.CRITICS.count("bilinear") == 1
    for name in ("bilinear", "sa_hyper"):
        with pytest.raises(ValueError, match=f"There is a critic named '{name}' already"):
            register_critic(name, OneNumber)


class OneNumber(Bilinear):
    def __init__(self, state_dim, action_dim, n_outputs):
        super().__init__(state_dim, action_dim, 1)


def test_a_critic_of_ones_own_that_gives_something_else_is_named(env):
    with pytest.raises(ValueError, match=r"must give \(batch, n_outputs\) = \(8, 25\) values, OneNumber gave \(8, 1\)"):
        make_model(TQC, env, critic=OneNumber).learn(14)
    network = Bilinear(5, 2, 1)
    with pytest.raises(ValueError, match="must make a new network, got the same one again"):
        make_model(TD3, env, critic=lambda *sizes: network)
    with pytest.raises(ValueError, match=r"a function that makes a Q-network .*, or one of 'sa_hyper', .*, got a Bilinear"):
        make_model(TD3, env, critic=network)
    with pytest.raises(ValueError, match=r"must make a network \(nn.Module\), got None"):
        make_model(TD3, env, critic=lambda *sizes: None)
    with pytest.raises(ValueError, match=r"The critic 'number' must be a function .* got a int"):
        register_critic("number", 3)
    assert "number" not in CRITICS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_the_actors_step_skips_is_kept_with_the_model(env, algorithm, tmp_path):
    model = make_model(algorithm, env, skip_parameter_gradients=False)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    for policy in (algorithm.load(tmp_path / "model").policy, type(model.policy).load(tmp_path / "policy")):
        assert policy.critic.skip_parameter_gradients is False
    actions = th.rand(4, 2).requires_grad_()
    sum(value.sum() for value in model.critic(th.randn(4, 5), actions)).backward()
    assert any(parameter.grad is not None for parameter in model.critic.parameters())


def test_xavier_leaves_the_features_extractor_alone(env):
    kwargs = {"features_extractor_class": LinearExtractor, "critic": "mlp_small", "critic_init": "xavier"}
    assert make_model(SAC, env, **kwargs).critic.features_extractor.net.bias.any()


@pytest.mark.parametrize("critic", ["mlp", "mlp_small", "resnet_features", "q_d2rl", "sa_hyper"])
def test_xavier_is_for_baselines(env, critic):
    for critic_init in ("pytorch", "xavier"):
        network = make_model(SAC, env, critic=critic, critic_init=critic_init).critic
        if critic == "sa_hyper":
            assert network.q_network.primary.layers[0].bias.any()
            continue
        layers = [layer for layer in network.modules() if isinstance(layer, (th.nn.Linear, EnsembleLinear))]
        assert layers
        for layer in layers:
            assert layer.bias.any() == (critic_init == "pytorch")
            n_in, n_out = sorted(layer.weight.shape[-2:], reverse=True)
            if critic_init == "xavier":
                bound = (6 / (n_in + n_out)) ** 0.5
                assert 0.8 * bound < layer.weight.abs().max() <= bound


def test_frozen_returns_every_parameter_to_its_setting():
    module = th.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    with frozen(module):
        assert not module.weight.requires_grad
        assert not module.bias.requires_grad
    assert module.weight.requires_grad
    assert not module.bias.requires_grad


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_shared_features_extractor_learns_from_the_policy_loss_only(env, algorithm):
    model = make_model(algorithm, env, share_features_extractor=True, features_extractor_class=LinearExtractor)
    assert model.critic.features_extractor is model.actor.features_extractor
    obs, actions = th.randn(4, 5), th.rand(4, 2)
    sum(value.sum() for value in model.critic(obs, actions)).backward()
    assert all(parameter.grad is None for parameter in model.actor.features_extractor.parameters())
    model.policy.zero_grad(set_to_none=True)
    actor_step_values(model, obs, model.actor(obs)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.actor.features_extractor.parameters())
    assert all(parameter.grad is None for parameter in model.critic.q_network.parameters())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_policy_loss_reaches_a_shared_features_extractor_through_the_action_alone(env, algorithm):
    gradients = []
    for skip in (True, False):
        model = make_model(
            algorithm,
            env,
            share_features_extractor=True,
            features_extractor_class=LinearExtractor,
            skip_parameter_gradients=skip,
        )
        th.manual_seed(0)
        obs = th.randn(4, 5)
        actor_step_values(model, obs, model.actor(obs)).sum().backward()
        gradients.append(model.actor.features_extractor.net.weight.grad)
        assert (model.critic.q_network.heads.linear.bias.grad is None) == skip
    assert gradients[0].any()
    th.testing.assert_close(*gradients)


def test_a_critics_own_features_extractor_learns_from_its_loss(env):
    model = make_model(SAC, env, features_extractor_class=LinearExtractor)
    th.cat(model.critic(th.randn(4, 5), th.rand(4, 2))).sum().backward()
    assert all(parameter.grad.any() for parameter in model.critic.features_extractor.parameters())


class LinearExtractor(th.nn.Module):
    def __init__(self, observation_space):
        super().__init__()
        self.features_dim = 7
        self.net = th.nn.Linear(observation_space.shape[0], 7)

    def forward(self, obs):
        return self.net(obs)
