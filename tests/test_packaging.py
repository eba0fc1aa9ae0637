import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from stable_baselines3 import DDPG

import sb3_hyper
from sb3_hyper.zoo import __main__ as zoo

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    found = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "sb3_hyper").rglob("__init__.py")}
    assert listed == found | {"sb3_hyper.hyperparams"}


def test_version_is_the_one_in_the_file():
    assert sb3_hyper.__version__ == (ROOT / "sb3_hyper" / "version.txt").read_text().strip()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == sb3_hyper.__version__
    assert f"## {sb3_hyper.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("names", ["td3 sac", "td3_paper sac_paper"])
def test_hyperparameters_are_found(names):
    for name in names.split():
        assert zoo.hyperparams_file(*name.split("_")).name == f"{name}.yml"
    assert zoo.hyperparams_file("ppo") is None


def test_ddpg_has_td3s_recommended_settings():
    assert zoo.hyperparams_file("ddpg").name == "td3.yml"
    assert zoo.hyperparams_file("ddpg", "paper") is None
    settings = yaml.safe_load(zoo.hyperparams_file("ddpg").read_text(encoding="utf-8"))["default"]
    of_rl_zoo = {"policy", "n_timesteps", "noise_type", "noise_std", "callback"}
    model = DDPG("HyperPolicy", "Pendulum-v1", **{key: value for key, value in settings.items() if key not in of_rl_zoo})
    assert model.critic.optimizer.param_groups[0]["lr"] == 3e-4


def test_importing_the_package_is_cheap_and_patches_nothing():
    """rl_zoo3 patches gymnasium when imported, and matplotlib takes its time."""
    code = "import sys, sb3_hyper; print([name for name in ('rl_zoo3', 'matplotlib', 'pandas') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.slow
def test_the_wheel_carries_everything(tmp_path):
    source = tmp_path / "source"  # building in place would leave a folder that goes into the next wheel
    ignore = shutil.ignore_patterns(".*", "logs", "build", "*.egg-info", "__pycache__", "MUJOCO_LOG.TXT")
    shutil.copytree(ROOT, source, ignore=ignore)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "sb3_hyper").rglob("*.py")}
    wanted |= {"sb3_hyper/py.typed", "sb3_hyper/version.txt"}
    wanted |= {f"sb3_hyper/{path.relative_to(ROOT)}" for path in (ROOT / "hyperparams").iterdir() if path.is_file()}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "sb3_hyper" / "experiments").rglob("*.[yj]*")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "sb3_hyper" / "tasks" / "assets").iterdir()}
    assert names == wanted
