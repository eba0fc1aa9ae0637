import mujoco
import numpy as np


def after_a_step(env, task, seed=0):
    """
    Take a step from a random state, and the same step with MuJoCo alone.

    :return: Positions before, MuJoCo's data after, the action; the environment's observation, reward and info.
    """
    env = env.unwrapped
    env.reset(seed=seed, options={"task": task})
    rng = np.random.default_rng(seed)
    env.set_state(env.init_qpos + rng.uniform(-0.1, 0.1, env.model.nq), rng.normal(size=env.model.nv))
    action = rng.uniform(-1, 1, env.model.nu).astype(np.float32) * env.action_space.high
    alone = mujoco.MjData(env.model)
    alone.qpos[:], alone.qvel[:], alone.ctrl[:] = env.data.qpos, env.data.qvel, action
    mujoco.mj_forward(env.model, alone)
    before = {"x": alone.qpos[0], "torso": alone.body("torso").xpos.copy(), "com": alone.subtree_com[0].copy()}
    for _ in range(env.frame_skip):
        mujoco.mj_step(env.model, alone)
    mujoco.mj_rnePostConstraint(env.model, alone)
    obs, reward, _, _, info = env.step(action)
    np.testing.assert_allclose(env.data.qpos, alone.qpos, atol=1e-9)
    return before, alone, np.float64(action), obs, reward, info
