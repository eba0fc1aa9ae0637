import pytest
import torch as th
from stable_baselines3 import SAC, TD3

from sb3_hyper.policies.critics import CRITICS, frozen

ALGORITHMS = [TD3, SAC]


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
    return critic.q1_forward(obs, actions) if isinstance(model, TD3) else th.cat(critic(obs, actions), dim=1)


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
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
    in_critic_step = graph_nodes(th.cat(model.critic(obs, actions)))
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
    th.cat(model.critic(obs, actions)).sum().backward()
    assert all(parameter.grad is None for parameter in model.actor.features_extractor.parameters())
    model.policy.zero_grad(set_to_none=True)
    actor_step_values(model, obs, model.actor(obs)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.actor.features_extractor.parameters())
    assert all(parameter.grad is None for parameter in model.critic.q_network.parameters())


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
