"""Networks of observation and task: once per task must be the same as once per row."""

import pytest
import torch as th

from sb3_hyper.meta.pearl import networks
from sb3_hyper.networks.spec import HyperNetworkSpec

OBS, LATENT, ACTIONS, N_TASKS, N = 4, 3, 2, 3, 5
SPEC = HyperNetworkSpec(widths=(16, 24), dynamic_widths=(8,))


def actors():
    return {
        "mlp": networks.MlpActor(OBS, LATENT, ACTIONS, [16, 16]),
        "hyper": networks.HyperActor(OBS, LATENT, ACTIONS, SPEC),
    }


def critics():
    hyper = {f"hyper_{meta}": networks.HyperCritic(OBS, LATENT, ACTIONS, SPEC, meta) for meta in networks.CRITIC_METAS}
    return {"mlp": networks.MlpCritic(OBS, LATENT, ACTIONS, [16, 16]), **hyper}


def values():
    hyper = {f"hyper_{meta}": networks.HyperValue(OBS, LATENT, SPEC, meta) for meta in networks.CRITIC_METAS}
    return {"mlp": networks.MlpValue(OBS, LATENT, [16, 16]), **hyper}


@pytest.mark.parametrize("kind", actors())
def test_an_actor_gives_each_row_what_it_would_get_alone(kind):
    actor, obs, z = actors()[kind], th.randn(N_TASKS, N, OBS), th.randn(N_TASKS, LATENT)
    mean, log_std = actor(obs, z)
    assert mean.shape == log_std.shape == (N_TASKS, N, ACTIONS)
    for task in range(N_TASKS):
        for row in range(N):
            alone = actor(obs[task, row].reshape(1, 1, -1), z[task : task + 1])
            th.testing.assert_close(mean[task, row], alone[0][0, 0], atol=1e-6, rtol=1e-5)
            th.testing.assert_close(log_std[task, row], alone[1][0, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", critics())
def test_a_critic_gives_each_row_what_it_would_get_alone(kind):
    critic, z = critics()[kind], th.randn(N_TASKS, LATENT)
    obs, actions = th.randn(N_TASKS, N, OBS), th.randn(N_TASKS, N, ACTIONS)
    q_values = critic(obs, actions, z)
    assert q_values.shape == (2, N_TASKS, N)
    for task in range(N_TASKS):
        for row in range(N):
            alone = critic(obs[task, row].reshape(1, 1, -1), actions[task, row].reshape(1, 1, -1), z[task : task + 1])
            th.testing.assert_close(q_values[:, task, row], alone[:, 0, 0], atol=1e-6, rtol=1e-5)
    assert not th.equal(q_values[0], q_values[1])


@pytest.mark.parametrize("kind", values())
def test_a_value_gives_each_row_what_it_would_get_alone(kind):
    value, obs, z = values()[kind], th.randn(N_TASKS, N, OBS), th.randn(N_TASKS, LATENT)
    result = value(obs, z)
    assert result.shape == (N_TASKS, N)
    for task in range(N_TASKS):
        for row in range(N):
            alone = value(obs[task, row].reshape(1, 1, -1), z[task : task + 1])
            th.testing.assert_close(result[task, row], alone[0, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", critics())
def test_critics_depend_on_observation_action_and_task(kind):
    critic = critics()[kind]
    inputs = [th.randn(N_TASKS, N, OBS), th.randn(N_TASKS, N, ACTIONS), th.randn(N_TASKS, LATENT)]
    for tensor in inputs:
        tensor.requires_grad_()
    for gradient in th.autograd.grad(critic(*inputs).sum(), inputs):
        assert gradient.abs().max() > 0


def test_in_the_papers_arrangement_the_tasks_gradient_does_not_pass_the_primary_network():
    critic = networks.HyperCritic(OBS, LATENT, ACTIONS, SPEC, "obs")
    assert (critic.hypernetwork.meta_dim, critic.hypernetwork.base_dim) == (OBS, ACTIONS + LATENT)
    seen = []
    critic.hypernetwork.primary.register_forward_pre_hook(lambda module, args: seen.append(args[0].requires_grad))
    critic(th.randn(1, 2, OBS), th.randn(1, 2, ACTIONS), th.randn(1, LATENT, requires_grad=True))
    assert seen == [False]


def test_a_generated_actors_weights_are_generated_once_per_task():
    actor, rows = networks.HyperActor(OBS, LATENT, ACTIONS, SPEC), []
    actor.hypernetwork.primary.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    actor(th.randn(N_TASKS, 100, OBS), th.randn(N_TASKS, LATENT))
    assert rows == [N_TASKS]


def test_log_std_heads_start_eight_times_smaller():
    actor = networks.HyperActor(OBS, LATENT, ACTIONS, HyperNetworkSpec())
    mean = actor.hypernetwork.generate(th.randn(200, LATENT))[-1].weight.detach()
    ratio = mean[..., :ACTIONS].std() / mean[..., ACTIONS:].std()
    assert ratio.item() == pytest.approx(8, rel=0.15)
