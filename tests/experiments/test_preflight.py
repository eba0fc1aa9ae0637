"""What can be known before the first run of a study is known before it."""

import pytest

from sb3_hyper import HyperTD3Policy
from sb3_hyper.experiments.preflight import check_study, untrained
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
    ("algo", "hyperparams", "message"),
    [
        ("td3", {"policy_kwargs": {"critic": "sa_hyped"}}, "Unknown critic 'sa_hyped'. Accepted: 'sa_hyper'"),
        ("td3", {"policy_kwargs": {"preset": "slimmer"}}, "Unknown preset 'slimmer'"),
        ("maml", {"policy_kwargs": {"preset": "slimmer"}}, "Unknown preset 'slimmer'"),
        (
            "td3",
            {"policy_kwargs": {"network_kwargs": {"width": [128]}}},
            "network_kwargs changes fields of the preset. Given: width. Accepted: .*widths",
        ),
        ("td3", {"policy_kwargs": {"critics": "mlp"}}, "HyperTD3Policy knows no critics. Accepted: .*critic_init"),
        ("pearl", {"policy_kwargs": {"nothing": 1}}, "HyperPEARLPolicy knows no nothing. Accepted: .*critic_meta"),
        ("td3", {"policy": "HyperPolice"}, "there is no policy 'HyperPolice': td3 has MlpPolicy, .*HyperPolicy"),
        ("td3", {"policy": "sb3_hyper.HyperPolice"}, "there is no policy 'sb3_hyper.HyperPolice'"),
        ("td3", {"policy": "nowhere.HyperPolicy"}, "there is no policy 'nowhere.HyperPolicy'"),
        ("td3", {"policy": None}, "there is no policy None"),
        ("td3", {"policy": "sb3_hyper.HyperSACPolicy"}, "HyperSACPolicy is no policy of td3, which has HyperPolicy"),
        ("crossq", {"policy": "sb3_hyper.HyperSACPolicy"}, "HyperSACPolicy is no policy of crossq$"),
        ("td3", {"learning_rat": 0.001}, "TD3 knows no learning_rat. Accepted: .*learning_rate.* rl-zoo3 takes .*noise_std"),
        ("ppo", {"policy": "MlpPolicy", "policy_delay": 2}, "PPO knows no policy_delay. Accepted: .*clip_range"),
        ("maml", {"n_envs": 2, "meta_batch": 2}, "MAML knows no meta_batch. Accepted: .*meta_batch_size"),
        ("td3", {"seed": 1, "device": "cpu"}, "device, seed: not hyperparameters, rl-zoo3 gives them to the algorithm itself"),
        ("td3", {"callback": "nowhere.Callback"}, "there is no callback 'nowhere.Callback'"),
        ("td3", {"callback": "..Callback"}, "there is no callback '..Callback'"),
        ("td3", {"callback": "sb3_hyper.diagnostics.callbacks"}, "callback 'sb3_hyper.diagnostics.callbacks' is a module"),
        ("td3", {"callback": [["a.B"]]}, r"callback: \['a.B'\] is neither a class with its module nor {class: arguments}"),
        ("td3", {"callback": {"a.B": {}, "a.C": {}}}, "callback: .* is neither a class"),
        ("td3", {"callback": {"sb3_hyper.diagnostics.callbacks.LearningRateCallback": 5}}, "callback: .* is neither a class"),
        ("td3", {"env_wrapper": "nowhere.Wrapper"}, "there is no env_wrapper 'nowhere.Wrapper'"),
        ("td3", {"vec_env_wrapper": "nowhere.Wrapper"}, "there is no vec_env_wrapper 'nowhere.Wrapper'"),
        (
            "td3",
            {"env_wrapper": {"sb3_hyper.tasks.context.OracleContext": {"nothing": 1}}},
            "OracleContext knows no nothing",
        ),
        (
            "td3",
            {"callback": [{"sb3_hyper.diagnostics.callbacks.GradientAccuracyCallback": {"n_state": 2}}]},
            "GradientAccuracyCallback knows no n_state. Accepted: .*n_states",
        ),
    ],
)
def test_a_name_that_is_not_known_is_told(algo, hyperparams, message):
    with pytest.raises(StudyError, match=f"^study s: variant other on Pendulum-v1: {message}"):
        check_study(make_study(hyperparams, algo))


def test_environments_and_packages_are_named():
    with pytest.raises(StudyError, match="'Nowhere-v0' is not registered with gymnasium"):
        check_study(make_study({}, environment="Nowhere-v0"))
    with pytest.raises(StudyError, match="gym_packages: No module named 'nowhere'"):
        check_study(make_study({}, gym_packages=["nowhere"]))


def test_variants_that_end_before_they_learn_are_named():
    study = make_study({"learning_starts": 9}, environment="HalfCheetah-v5")
    assert study.steps == 10
    assert untrained(study) == ["mlp on HalfCheetah-v5"]  # td3.yml: 5000
    study.variants["mlp"].file = "sac_paper"  # 10 000 on HalfCheetah, 1000 on Hopper
    study.environments.append("Hopper-v5")
    study.steps = 5000
    assert untrained(study) == ["mlp on HalfCheetah-v5"]


class MyPolicy(HyperTD3Policy):
    """Takes what it likes."""


@pytest.mark.parametrize(
    "hyperparams",
    [
        {"policy": "MlpPolicy", "policy_kwargs": {"anything": 1}},
        {"policy": f"{__name__}.MyPolicy", "policy_kwargs": {"anything": 1}},
        {"policy_kwargs": "dict(critic='sa_hyper')"},
        # wrappers may change what is observed
        {"frame_stack": 4, "policy_kwargs": {"actor": "hyper", "context_slice": [3, 6]}},
        {"policy": "HyperCnnPolicy"},
        {"normalize": "dict(norm_obs=True)", "n_envs": 2, "noise_type": "normal", "noise_std": 0.1, "env_kwargs": {"g": 9.0}},
        {
            "env_wrapper": [
                "gymnasium.wrappers.TimeAwareObservation",
                {"gymnasium.wrappers.TimeLimit": {"max_episode_steps": 5}},
            ]
        },
        {"vec_env_wrapper": "stable_baselines3.common.vec_env.VecMonitor"},
        {"callback": [{"stable_baselines3.common.callbacks.CheckpointCallback": {"anything": 1}}]},
    ],
)
def test_what_is_not_known_here_is_left_to_the_run(hyperparams):
    check_study(make_study(hyperparams))


@pytest.mark.parametrize("name", study_names())
def test_the_names_in_the_studies_of_this_package_are_known(name):
    check_study(load_study(name))
