import numpy as np

from sb3_hyper.experiments.evaluations import load_evaluations, write_evaluations


def test_evaluations_become_rows(tmp_path):
    steps, returns = np.array([10, 20]), np.array([[1.0, 3.0], [-1.0, 5.0]])
    np.savez(tmp_path / "evaluations.npz", timesteps=steps, results=returns, ep_lengths=np.ones((2, 2)))
    loaded_steps, loaded_returns = load_evaluations(tmp_path / "evaluations.npz")
    np.testing.assert_array_equal(loaded_steps, steps)
    np.testing.assert_array_equal(loaded_returns, returns)
    write_evaluations(tmp_path / "evaluations.csv", loaded_steps, loaded_returns)
    assert (tmp_path / "evaluations.csv").read_text().splitlines() == [
        "step,mean_return,std_return,return_0,return_1",
        "10,2.000,1.000,1.000,3.000",
        "20,2.000,3.000,-1.000,5.000",
    ]
    assert len(list(tmp_path.iterdir())) == 2  # no temporary file is left
