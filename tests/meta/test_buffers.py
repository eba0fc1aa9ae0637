"""PEARL's store against one plain list per task."""

import pickle

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.meta.pearl.buffers import TaskReplayBuffer

OBS, ACTIONS = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(-1, 1, (1,))


def make(capacity=8, n_tasks=3):
    return TaskReplayBuffer(capacity * n_tasks, OBS, ACTIONS, device="cpu", n_tasks=n_tasks)


def add(buffer, tasks, number, to_context=True):
    """A transition in which every quantity tells the task and the number."""
    tasks = np.atleast_1d(tasks)
    value = 100.0 * tasks + number
    buffer.add(
        tasks,
        {
            "observations": np.stack([value, value + 0.1], axis=1),
            "actions": value[:, None] + 0.2,
            "rewards": value + 0.3,
            "next_observations": np.stack([value + 0.4, value + 0.5], axis=1),
            "dones": np.full(len(tasks), number % 2),
        },
        np.full(len(tasks), to_context),
    )


def numbers(batch, row):
    return set((batch.observations[row, :, 0] % 100).round().int().tolist())


def test_a_batch_holds_whole_transitions_of_its_tasks():
    buffer = make()
    for number in range(5):
        add(buffer, [0, 2], number)
    batch = buffer.sample(np.array([2, 0, 2]), 64)
    value = batch.observations[..., :1]
    assert batch.observations.shape == (3, 64, 2)
    assert (value[0] >= 200).all()
    assert (value[1] < 100).all()
    for other, offset in ((batch.actions, 0.2), (batch.rewards, 0.3), (batch.next_observations[..., :1], 0.4)):
        np.testing.assert_allclose(other, value + offset, atol=1e-4)
    np.testing.assert_array_equal(batch.dones, value % 2)
    assert numbers(batch, 0) == {0, 1, 2, 3, 4}
    assert batch.as_context().shape == (3, 64, 4)
    assert batch.as_context(next_obs=True).shape == (3, 64, 6)


def test_the_context_is_what_was_added_to_it_since_it_began():
    buffer = make(capacity=20)
    for number in range(4):
        add(buffer, [0, 1], number)
    buffer.begin_context(np.array([0]))
    for number in range(4, 7):
        add(buffer, [0], number)
    for number in range(7, 9):
        add(buffer, [0], number, to_context=False)
    batch = buffer.sample_context(np.array([0, 1]), 200)
    assert numbers(batch, 0) == {4, 5, 6}
    assert numbers(batch, 1) == {0, 1, 2, 3}
    assert numbers(buffer.sample(np.array([0]), 500), 0) == set(range(9))
    assert buffer.context_size(np.array([0, 1, 2])).tolist() == [3, 4, 0]


def test_old_transitions_are_overwritten_in_both_streams():
    buffer = make(capacity=8)
    for number in range(3):
        add(buffer, [0], number)
    for number in range(3, 10):
        add(buffer, [0], number, to_context=False)
    assert numbers(buffer.sample(np.array([0]), 500), 0) == set(range(2, 10))
    assert numbers(buffer.sample_context(np.array([0]), 50), 0) == {2}
    add(buffer, [0], 10, to_context=False)
    with pytest.raises(ValueError, match=r"no transitions of tasks \[0\] left in the context.* 3 tasks 8 transitions"):
        buffer.sample_context(np.array([0]), 5)
    buffer.begin_context(np.array([0]))
    with pytest.raises(ValueError, match=r"no transitions of tasks \[0\]$"):
        buffer.sample_context(np.array([0]), 5)


def test_all_transitions_are_drawn_equally_often():
    np.random.seed(0)
    buffer = make()
    for number in range(5):
        add(buffer, [1], number)
    drawn = (buffer.sample(np.array([1]), 50_000).observations[0, :, 0] % 100).round().int()
    counts = np.bincount(drawn.numpy(), minlength=5)
    assert counts.sum() == 50_000
    assert np.abs(counts - 10_000).max() < 400  # 4 standard deviations are 360


def test_context_that_does_not_come_first_is_refused():
    buffer = make()
    add(buffer, [0], 0, to_context=False)
    with pytest.raises(ValueError, match="context must come first"):
        add(buffer, [0], 1)


def test_a_pickle_holds_what_is_filled_and_comes_back_the_same():
    buffer = TaskReplayBuffer(2_000_000, OBS, ACTIONS, device="cpu", n_tasks=2)
    for number in range(5):
        add(buffer, [0, 1], number, to_context=number < 3)
    data = pickle.dumps(buffer)
    assert len(data) < 5_000
    copy = pickle.loads(data)
    for name in buffer.FIELDS:
        np.testing.assert_array_equal(getattr(copy, name), getattr(buffer, name))
    add(copy, [0], 5, to_context=False)
    assert copy.size() == 11
    assert numbers(copy.sample_context(np.array([0]), 50), 0) == {0, 1, 2}


def test_too_small_a_buffer_is_refused():
    with pytest.raises(ValueError, match="no room"):
        TaskReplayBuffer(2, OBS, ACTIONS, n_tasks=3)
