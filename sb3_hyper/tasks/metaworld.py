"""
Meta-World's benchmarks ML1, ML10 and ML45 (Yu et al., CoRL 2019) as task environments.

Meta-World needs a MuJoCo of its own (3.3.0), hence an environment of its own: ``pip install -e ".[metaworld]"``. Nothing
of it is imported before an environment is made.
"""

import pickle
from collections import Counter
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_hyper.tasks.interface import Task, TaskEnv, check_split, evenly

BENCHMARKS = ("ML1", "ML10", "ML45")
N_PARAMETERS = 6  # of the longest random vector: places of an object and of a goal
DRAWS_PER_RESET = 2  # Meta-World places the objects twice: before and after it clears the simulator

Goals = dict[str, tuple[tuple[float, ...], ...]]  # environment -> random vectors


def import_metaworld() -> ModuleType:
    """
    :return: The module ``metaworld``.
    :raises ImportError: If it is not there, or could not work.
    """
    advice = "Meta-World needs MuJoCo 3.3.0: in an environment of its own, pip install -e '.[metaworld]' in a clone"
    try:
        import metaworld
        import mujoco
    except ImportError as error:
        raise ImportError(f"{error}. {advice}") from error
    if int(mujoco.__version__.split(".")[0]) > 3:  # every environment would fail with shapes that do not match
        raise ImportError(f"Meta-World cannot be used with MuJoCo {mujoco.__version__}. {advice}")
    return metaworld


def environment_names(benchmark: str, env_name: str | None) -> dict[str, list[str]]:
    """
    :param benchmark: One of ``BENCHMARKS``.
    :param env_name: Meta-World's environment, for ML1 only.
    :return: Names of the training and of the test environments.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {', '.join(BENCHMARKS)}, got {benchmark!r}")
    metaworld = import_metaworld()
    if benchmark == "ML1":
        if env_name is None or env_name not in metaworld.ML1.ENV_NAMES:
            raise ValueError(f"env_name must be one of {', '.join(metaworld.ML1.ENV_NAMES)}, got {env_name!r}")
        return {"train": [env_name], "test": [env_name]}
    if env_name is not None:
        raise ValueError(f"{benchmark} has environments of its own: env_name goes with ML1, got {env_name!r}")
    classes = getattr(metaworld.env_dict, f"{benchmark}_V3")
    return {split: list(classes[split]) for split in ("train", "test")}


@lru_cache(maxsize=16)
def benchmark_goals(benchmark: str, env_name: str | None, seed: int) -> dict[str, Goals]:
    """
    Meta-World's own goals, fifty for each environment. It draws them by simulation: they take a second for ML1, 25 for ML45.

    :param benchmark: One of ``BENCHMARKS``.
    :param env_name: Meta-World's environment, for ML1 only.
    :param seed: Meta-World's seed.
    :return: Those to train on and those to test on.
    :raises RuntimeError: If they have one in common.
    """
    metaworld = import_metaworld()
    # From the benchmark itself: the vectorized ML1 that Meta-World registers trains on the test goals (Metaworld issue 541)
    made = metaworld.ML1(env_name, seed=seed) if benchmark == "ML1" else getattr(metaworld, benchmark)(seed=seed)
    goals: dict[str, Goals] = {}
    for split, tasks in (("train", made.train_tasks), ("test", made.test_tasks)):
        goals[split] = {}
        for task in tasks:
            rand_vec = tuple(map(float, pickle.loads(task.data)["rand_vec"]))
            goals[split][task.env_name] = (*goals[split].get(task.env_name, ()), rand_vec)
    for name in goals["train"].keys() & goals["test"].keys():
        common = set(goals["train"][name]) & set(goals["test"][name])
        if common:
            raise RuntimeError(f"Meta-World gives {name} {len(common)} goals both to train and to test on, with seed {seed}")
    return goals


class MetaWorldEnv(TaskEnv):
    """
    A Sawyer arm with a goal that it does not see: the last three entries of the observation are 0. Where an object lies is
    seen, and in some environments the goal depends on it, as when a door is to be opened.

    Tasks: ``{"env": "reach-v3", "rand_vec": [...]}``, an environment and what is random in it, the places of object and goal.
    A task leaves nothing to chance: the seed of a reset changes nothing. To train on and to test on are Meta-World's own fifty
    goals for each environment: other goals of the same environment in ML1, other environments in ML10 and ML45.

    ``info["success"]`` tells of the step, ``info["is_success"]`` of the episode so far: Meta-World counts an episode that
    succeeded at any step. Episodes have 500 steps and never terminate.

    :param benchmark: ``"ML1"``, ``"ML10"`` or ``"ML45"``.
    :param env_name: With ML1, the environment: ``"reach-v3"``, ``"pick-place-v3"``...
    :param goal_seed: Meta-World's seed for the goals. The test goals of ML1 are the training goals of the next seed: keep it
        fixed over the seeds of a study.
    :param render_mode: As in gymnasium's MuJoCo environments.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array"], "render_fps": 80}  # noqa: RUF012 (gymnasium's)

    def __init__(
        self, benchmark: str, env_name: str | None = None, goal_seed: int = 0, render_mode: str | None = None
    ) -> None:
        self.names = environment_names(benchmark, env_name)
        self.benchmark, self.env_name, self.goal_seed, self.render_mode = benchmark, env_name, goal_seed, render_mode
        self._all_names = list(dict.fromkeys(self.names["train"] + self.names["test"]))
        self._sim: Any = self._simulator_class(self.names["train"][0])(render_mode=render_mode)
        sawyer = self._sim.sawyer_observation_space
        low, high = (bound.astype(np.float32) for bound in (sawyer.low, sawyer.high))
        low[-3:], high[-3:] = -1, 1  # the hidden goal, 0 in Meta-World's bounds: gymnasium warns of those that are equal
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.set_task(self._default_task())

    def _simulator_class(self, name: str) -> Any:
        return import_metaworld().ALL_V3_ENVIRONMENTS[name]

    def _default_task(self) -> Task:
        """Any task, without the time that the benchmark's goals take."""
        rng, space = np.random.default_rng(0), self._sim._random_reset_space
        while True:
            rand_vec = rng.uniform(space.low, space.high)
            if _place(self._sim, rand_vec):
                return {"env": self.names["train"][0], "rand_vec": rand_vec.tolist()}

    def sample_tasks(self, n: int, rng: np.random.Generator, split: str = "train") -> list[Task]:
        """As many tasks of each environment as of the others or one more, and so for the goals of an environment."""
        check_split(split, self.splits)
        goals = benchmark_goals(self.benchmark, self.env_name, self.goal_seed)[split]
        counts = Counter(task["env"] for task in evenly([{"env": name} for name in goals], n, rng))
        families = {name: [{"env": name, "rand_vec": rand_vec} for rand_vec in goals[name]] for name in goals}
        tasks = [task for name in goals for task in evenly(families[name], counts[name], rng)]
        return [{**task, "rand_vec": list(task["rand_vec"])} for task in tasks]

    def set_task(self, task: Task) -> None:
        """Take a task. It places the objects, so an episode begins with it."""
        if set(task) != {"env", "rand_vec"} or task["env"] not in self._all_names:
            expected = f"{{'env': ..., 'rand_vec': [...]}} with an environment of {', '.join(self._all_names)}"
            raise ValueError(f"A task of {self.benchmark} is {expected}, got {task}")
        simulator_class = self._simulator_class(task["env"])
        sim = self._sim if type(self._sim) is simulator_class else simulator_class(render_mode=self.render_mode)
        rand_vec, space = np.asarray(task["rand_vec"], dtype=np.float64), sim._random_reset_space
        if not space.contains(rand_vec):
            raise ValueError(f"rand_vec of {task['env']} lies between {space.low} and {space.high}, got {task['rand_vec']}")
        if not _place(sim, rand_vec):
            if sim is self._sim:
                _place(sim, np.asarray(self.task["rand_vec"]))
            raise ValueError(f"{task['env']} refuses this rand_vec, which puts object and goal too close: {rand_vec}")
        if sim is not self._sim:  # one at a time: a simulator has 20 MB, to make it takes as long as half an episode
            self._sim.close()
        self._sim, self.task, self._succeeded = sim, task, False

    def task_parameters(self, task: Task) -> np.ndarray:
        """The random vector; in ML10 and ML45 filled up with zeros, after one entry per environment that tells which it is."""
        rand_vec = np.asarray(task["rand_vec"], dtype=np.float64)
        if self.benchmark == "ML1":
            return rand_vec
        which = np.array([task["env"] == name for name in self._all_names], dtype=np.float64)
        return np.concatenate([which, rand_vec, np.zeros(N_PARAMETERS - len(rand_vec))])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode of the task."""
        super().reset(seed=seed, options=options)
        self._succeeded = False
        return self._seen(self._sim.reset()[0]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the hand by up to a centimetre along each axis, and the fingers."""
        observation, reward, terminated, truncated, info = self._sim.step(action)
        self._succeeded = self._succeeded or bool(info["success"])
        return self._seen(observation), float(reward), terminated, truncated, {**info, "is_success": self._succeeded}

    def render(self) -> Any:
        """An image, or none where a window shows it."""
        return self._sim.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._sim.close()

    def _seen(self, observation: np.ndarray) -> np.ndarray:
        space = self.observation_space
        assert isinstance(space, spaces.Box)
        return np.clip(observation.astype(np.float32), space.low, space.high)  # Meta-World forgets it in reset()


def _place(sim: Any, rand_vec: np.ndarray) -> bool:
    """
    Give Meta-World's environment a random vector, and begin an episode with it.

    :param sim: The environment.
    :param rand_vec: What is random in it.
    :return: Whether it takes the vector. Where object and goal are too close, Meta-World draws again, and would do so forever
        with a vector that is given.
    """
    metaworld = import_metaworld()
    data = {"rand_vec": rand_vec, "env_cls": type(sim), "partially_observable": True}
    sim.set_task(metaworld.Task(env_name=type(sim).__name__, data=pickle.dumps(data)))
    n_draws = 0

    def draw() -> np.ndarray:
        nonlocal n_draws
        n_draws += 1
        if n_draws > DRAWS_PER_RESET:
            raise _DrawnAgainError
        return rand_vec

    sim._get_state_rand_vec = draw
    try:
        sim.reset()
    except _DrawnAgainError:
        return False
    finally:
        del sim._get_state_rand_vec  # the method of the class is back
    return True


class _DrawnAgainError(Exception):
    """Meta-World refused a random vector."""
