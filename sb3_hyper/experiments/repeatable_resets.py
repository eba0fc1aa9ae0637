"""
Going back to the beginning of an episode.

Between two episodes a gymnasium environment is nothing but the random state its next reset draws from, whatever simulator it
holds: resetting it again from that state restores it exactly.
"""

from typing import Any

import gymnasium as gym

from sb3_hyper.common.random_states import RandomState


class RepeatableResets(gym.Wrapper):
    """
    An environment whose last reset can be repeated.

    :param env: The environment. All its randomness comes from ``np_random``, as gymnasium asks for.
    """

    _before_last_reset: RandomState

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        :param seed: Seed of the environment's random generator.
        :param options: Passed on.
        :return: Observation and info.
        """
        if seed is not None:
            self.unwrapped.np_random, _ = gym.utils.seeding.np_random(seed)
        self._before_last_reset = self.get_random_state()
        return self.env.reset(seed=seed, options=options)

    def get_random_state(self) -> RandomState:
        """
        :return: The state of the random generator.
        """
        return self.unwrapped.np_random.bit_generator.state  # type: ignore[return-value]

    def set_random_state(self, state: RandomState) -> None:
        """
        :param state: What :meth:`get_random_state` gave.
        """
        self.unwrapped.np_random.bit_generator.state = state

    def before_last_reset(self) -> RandomState:
        """
        :return: The random state that the last reset started from.
        """
        return self._before_last_reset

    def repeat_reset(self, state: RandomState) -> Any:
        """
        :param state: What :meth:`before_last_reset` gave.
        :return: The observation that the reset gave then.
        """
        self.set_random_state(state)
        observation, _ = self.reset()
        return observation
