"""What can be known before the first run of a study is known before it."""

import pytest

from sb3_hyper.experiments.preflight import check_study
from sb3_hyper.experiments.studies import Study, StudyError
from sb3_hyper.experiments.study_files import load_study, study_names


def make_study(hyperparams, algo="td3", environment="Pendulum-v1", **fields):
    variants = {"mlp": {"file": "td3"}, "other": {"algo": algo, "hyperparams": {"policy": "HyperPolicy"} | hyperparams}}
    return Study(
        name="s",
        title="",
        environments=[environment],
        seeds=1,
        steps=10,
        eval_freq=5,
        baseline="mlp",
        variants=variants,
        **fields,
    )


@pytest.mark.parametrize(
    ("hyperparams", "message"),
    [
        (
            {"policy_kwargs": {"critic": "sa_hyped"}},
            "variant other on Pendulum-v1: Unknown critic 'sa_hyped'. Accepted: 'sa_hyper'",
        ),
        ({"policy_kwargs": {"preset": "slimmer"}}, "Unknown preset 'slimmer'"),
        ({"policy_kwargs": {"network_kwargs": {"width": [128]}}}, "Given: width. Accepted: .*widths"),
        ({"policy_kwargs": {"critics": "mlp"}}, "critics"),
        ({"policy_kwargs": {"actor": "hyper", "context_slice": [2, 9]}}, "context_slice"),
        ({"policy": "HyperPolice"}, "'HyperPolice' is none of td3: MlpPolicy, .*HyperPolicy"),
        ({"policy": "sb3_hyper.HyperPolice"}, "HyperPolice"),
        ({"policy": "nowhere.HyperPolicy"}, "nowhere"),
        ({"policy": "sb3_hyper.HyperSACPolicy"}, 'HyperSACPolicy is no policy of td3; "HyperPolicy" names the one that fits'),
    ],
)
def test_a_variant_that_could_not_start_is_named(hyperparams, message):
    with pytest.raises(StudyError, match=f"study s: .*{message}"):
        check_study(make_study(hyperparams))


def test_environments_and_packages_are_named():
    with pytest.raises(StudyError, match="'Nowhere-v0' is not registered with gymnasium"):
        check_study(make_study({}, environment="Nowhere-v0"))
    with pytest.raises(StudyError, match="gym_packages: No module named 'nowhere'"):
        check_study(make_study({}, gym_packages=["nowhere"]))


def test_what_is_not_known_here_is_left_to_the_run():
    check_study(make_study({"policy": "MlpPolicy", "policy_kwargs": {"anything": 1}}))
    check_study(make_study({"policy_kwargs": "dict(critic='sa_hyper')"}))
    wrapper = {"gymnasium.wrappers.FlattenObservation": {}}
    check_study(make_study({"env_wrapper": wrapper, "policy_kwargs": {"actor": "hyper", "context_slice": [2, 9]}}))


SLOW = ("dynamic-weights", "paper-gradients", "paper-sac", "paper-td3", "paper-weights")  # networks of the paper's size


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in study_names()])
def test_the_studies_of_this_package_can_start(name):
    check_study(load_study(name))
