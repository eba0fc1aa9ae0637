import math

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.tasks.context import OracleContext
from sb3_hyper.tasks.interface import TaskSet
from tests.tasks.steps import after_a_step

# Half-Cheetah


@pytest.mark.parametrize("name", ["HalfCheetahVel-v0", "HalfCheetahVelMedium-v0"])
def test_reward_of_half_cheetah_vel(name):
    before, after, action, _, reward, info = after_a_step(gym.make(name), {"velocity": 1.3})
    velocity = (after.qpos[0] - before["x"]) / 0.05
    assert abs(velocity) > 0.1
    assert info["velocity"] == pytest.approx(velocity)
    assert reward == pytest.approx(-abs(velocity - 1.3) - 0.05 * (action**2).sum())


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_reward_of_half_cheetah_fwd_back(direction):
    before, after, action, _, reward, _ = after_a_step(gym.make("HalfCheetahFwdBack-v0"), {"direction": direction})
    velocity = (after.qpos[0] - before["x"]) / 0.05
    assert reward == pytest.approx(direction * velocity - 0.05 * (action**2).sum())


def test_observation_of_half_cheetah():
    _, after, *_, obs, _, _ = after_a_step(gym.make("HalfCheetahVel-v0"), {"velocity": 1.0})
    np.testing.assert_allclose(obs, np.concatenate([after.qpos[1:], after.qvel, after.body("torso").xpos]), atol=1e-9)
    *_, short, _, _ = after_a_step(gym.make("HalfCheetahVel-v0", variant="promp"), {"velocity": 1.0})
    np.testing.assert_array_equal(short, obs[:17])


def test_half_cheetah_weighs_what_it_should():
    model = gym.make("HalfCheetahVel-v0").unwrapped.model
    # masses of gymnasium's model after its compiler has scaled them to 14 kg
    masses = [0, 6.25020921, 1.54351464, 1.5874477, 1.09539749, 1.43807531, 1.20083682, 0.88451883]
    np.testing.assert_allclose(model.body_mass, masses, atol=1e-8)
    assert model.body_mass.sum() == pytest.approx(14, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        ("HalfCheetahVel-v0", {"train": (0, 3), "test": (0, 3), "ood": (3, 4)}),
        ("HalfCheetahVelMedium-v0", {"train": (0, 2.5), "test": (2.5, 3), "ood": (2.5, 3)}),
        ("AntVel-v0", {"train": (0, 3), "test": (0, 3), "ood": (3, 4)}),
    ],
)
def test_velocities_fill_their_range(name, ranges):
    for split, tasks in TaskSet.sample(gym.make(name), 300, 300, 300):
        low, high = ranges[split]
        velocities = [task["velocity"] for task in tasks]
        assert low <= min(velocities) < low + 0.05
        assert high - 0.05 < max(velocities) <= high


# Ant


def contact_cost(data):
    return 0.0005 * (np.clip(data.cfrc_ext, -1, 1) ** 2).sum()


ANT_WEIGHTS = {"hyperl": (0.005, 0.05), "oyster": (0.5, 1.0), "promp": (0.5, 1.0)}


@pytest.mark.parametrize("variant", ANT_WEIGHTS)
@pytest.mark.parametrize(
    ("name", "angle", "heading"),
    [
        ("AntForwardBackward-v0", 0.0, (1, 0)),
        ("AntForwardBackward-v0", math.pi, (-1, 0)),
        ("AntFwdBack-v0", 1.0, (0.540302, 0.841471)),  # 1 radian, 57.3 degrees
        ("AntFwdBack-v0", -1.0, (0.540302, -0.841471)),
    ],
)
def test_reward_of_ant_with_a_heading(name, angle, heading, variant):
    before, after, action, _, reward, _ = after_a_step(gym.make(name, variant=variant), {"direction": angle})
    velocity = (after.body("torso").xpos[:2] - before["torso"][:2]) / 0.05
    assert np.abs(velocity).min() > 0.05
    control, survival = ANT_WEIGHTS[variant]
    expected = velocity @ heading - control * (action**2).sum() - contact_cost(after) + survival
    assert reward == pytest.approx(expected, abs=1e-5)


def test_reward_of_ant_vel():
    before, after, action, _, reward, _ = after_a_step(gym.make("AntVel-v0"), {"velocity": 2.0})
    velocity = (after.body("torso").xpos[0] - before["torso"][0]) / 0.05
    expected = 1 - abs(velocity - 2) - 0.005 * (action**2).sum() - contact_cost(after) + 0.05
    assert reward == pytest.approx(expected)


def test_reward_of_ant_goal():
    _, after, action, obs, reward, _ = after_a_step(gym.make("AntGoal-v0"), {"goal": [1.0, -2.0]})
    x, y, _ = after.body("torso").xpos
    distance = abs(x - 1) + abs(y + 2)
    assert reward == pytest.approx(-distance - 0.1 * (action**2).sum() - contact_cost(after))
    np.testing.assert_allclose(obs[:29], np.concatenate([after.qpos, after.qvel]), atol=1e-9)


def test_contact_forces_can_be_left_at_zero():
    observations, costs = {}, {}
    for forces in (True, False):
        env = gym.make("AntFwdBack-v0", variant="promp", contact_forces=forces)
        env.reset(seed=0)
        for _ in range(40):  # it falls to the ground
            obs, _, _, _, info = env.step(np.zeros(8, np.float32))
        observations[forces], costs[forces] = obs, info["reward_contact"]
    clipped = np.clip(env.unwrapped.data.cfrc_ext, -1, 1)
    assert np.abs(clipped).max() > 0
    np.testing.assert_array_equal(observations[True], np.concatenate([observations[False][:27], clipped.ravel()]))
    assert not observations[False][27:].any()
    assert costs == pytest.approx({True: -0.0005 * (clipped**2).sum(), False: 0})


@pytest.mark.parametrize(
    ("name", "variant", "heights"),
    [
        ("AntVel-v0", "hyperl", {0.15: True, 0.5: False, 1.2: True}),
        ("AntFwdBack-v0", "oyster", {0.15: True, 0.5: False, 1.2: True}),
        ("AntForwardBackward-v0", "promp", {0.15: False, 0.5: False, 1.2: True}),
        ("AntGoal-v0", "hyperl", {0.15: False, 0.5: False, 1.2: False}),
        ("HumanoidDir-v0", "hyperl", {0.9: True, 1.4: False, 2.2: True}),
    ],
)
def test_an_episode_ends_where_the_torso_is_out_of_its_bounds(name, variant, heights):
    env = gym.make(name, variant=variant).unwrapped
    env.reset(seed=0)
    for height, ended in heights.items():
        env.data.qpos[2] = height
        assert env.has_ended() == ended


def test_an_episode_of_ant_ends_where_the_state_is_not_finite():
    env = gym.make("AntVel-v0").unwrapped
    env.reset(seed=0)
    env.data.qvel[0] = np.inf
    assert env.has_ended()


def test_goals_fill_the_disc():
    goals = np.array([task["goal"] for task in TaskSet.sample(gym.make("AntGoal-v0"), 2000, 0).train])
    radii = np.linalg.norm(goals, axis=1)
    assert radii.max() <= 3
    assert (radii**2).mean() == pytest.approx(4.5, abs=0.2)  # half of the squared radius: uniform
    np.testing.assert_allclose(goals.mean(axis=0), 0, atol=0.15)


@pytest.mark.parametrize("name", ["HalfCheetahFwdBack-v0", "AntFwdBack-v0", "AntForwardBackward-v0"])
def test_the_context_of_two_directions_is_plus_and_minus_one(name):
    env = gym.make(name)
    tasks = TaskSet.sample(env, 2, 2)
    assert tasks.train == tasks.test
    env = OracleContext(env, tasks.train)
    contexts = [env.reset(options={"task": task})[0][-1] for task in tasks.train]
    assert contexts == [1, -1]


# Humanoid


def test_reward_of_humanoid_dir():
    angle = 2.0
    before, after, action, obs, reward, _ = after_a_step(gym.make("HumanoidDir-v0"), {"direction": angle})
    way = after.subtree_com[0] - before["com"]
    forward = 0.25 * (way[0] * math.cos(angle) + way[1] * math.sin(angle)) / 0.003
    expected = forward - 0.1 * (action**2).sum() - min(0.5e-6 * (after.cfrc_ext**2).sum(), 10) + 5
    assert abs(forward) > 0.1
    assert reward == pytest.approx(expected)
    derived = (after.cinert.ravel(), after.cvel.ravel(), after.qfrc_actuator, after.cfrc_ext.ravel())
    np.testing.assert_allclose(obs, np.concatenate([after.qpos[2:], after.qvel, *derived]), rtol=1e-6, atol=1e-6)


def test_headings_are_unit_vectors():
    env = OracleContext(gym.make("HumanoidDir-v0"), [{"direction": 0.0}])
    obs, _ = env.reset(options={"task": {"direction": math.pi / 2}})
    assert obs[-2:].tolist() == pytest.approx([0, 1], abs=1e-7)
