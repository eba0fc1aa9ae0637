import numpy as np
from PIL import Image

from sb3_hyper.experiments.plots import plot_learning_curve


def test_a_learning_curve_is_a_picture_with_ink_on_it(tmp_path):
    steps = np.arange(5) * 1000
    curves = {"one": (steps, np.random.default_rng(0).normal(size=(5, 10)))}
    plot_learning_curve(tmp_path / "curve.png", curves, title="A title")
    pixels = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB"))
    assert pixels.shape[0] > 300
    blue = (pixels[..., 2] > pixels[..., 0].astype(int) + 50).mean()
    assert 0.005 < blue < 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_other_formats_work(tmp_path):
    plot_learning_curve(tmp_path / "curve.pdf", {"one": (np.array([1]), np.array([[2.0]]))})
    assert (tmp_path / "curve.pdf").read_bytes().startswith(b"%PDF")
