import datetime

import pytest
import yaml
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper.experiments.algorithms import ALGORITHMS, META_ALGORITHMS
from sb3_hyper.experiments.studies import Study, StudyError, Variant
from sb3_hyper.experiments.study_files import load_study, study_names

VALID = {
    "title": "T",
    "environments": ["Pendulum-v1", "Hopper-v5"],
    "seeds": 2,
    "steps": 1000,
    "eval_freq": 100,
    "baseline": "a",
    "variants": {"a": {"file": "td3"}, "b": {"algo": "sac", "hyperparams": {"policy": "MlpPolicy"}, "priority": 2}},
}


def write(folder, changes=None, **more):
    path = folder / "study.yml"
    path.write_text(yaml.safe_dump({**VALID, **(changes or {}), **more}, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("name", study_names())
def test_packaged_studies_are_valid(name):
    study = load_study(name)
    assert study.name == name
    for run in study.runs():
        settings = run.settings()[run.environment]
        assert settings["n_timesteps"] == study.steps
        if run.algo not in META_ALGORITHMS:
            assert settings["buffer_size"] <= study.steps


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    path = write(tmp_path)
    with open(path, "a") as file:
        file.write("steps: 2000\n")
    with pytest.raises(StudyError, match="steps is there twice"):
        load_study(path)


@pytest.mark.parametrize(
    ("hyperparams", "message"),
    [
        ({"policy": "MlpPolicy", "n_timesteps": 99}, "n_timesteps is the study's steps"),
        ({"policy": "MlpPolicy", "n_envs": 101}, r"eval_freq \(100\) is less than one step of all environments of variant a"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(tmp_path, hyperparams, message):
    with pytest.raises(StudyError, match=message):
        load_study(write(tmp_path, variants={"a": {"hyperparams": hyperparams}}))


def test_rl_zoos_algorithms_are_known():
    from rl_zoo3.utils import ALGOS

    assert {name: kind for name, kind in ALGORITHMS.items() if name not in META_ALGORITHMS} == {
        name: kind for name, kind in ALGOS.items() if name not in META_ALGORITHMS
    }


def test_the_promised_studies_are_there():
    assert {"smoke", "slim-search", "critics-100k", "paper-td3", "paper-sac"} <= set(study_names())
    search = load_study("slim-search")
    assert (search.steps, search.seeds) == (50_000, 5)
    critics = load_study("critics-100k")
    assert critics.environments == ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5"]
    first = {name for name, variant in critics.variants.items() if variant.priority == 1}
    assert first == {"mlp", "bounded", "layernorm_mlp_bounded"}  # stock, the default, and the control of its size
    assert set(critics.variants) - first == {"layernorm_mlp", "sa_hyper", "as_hyper", "mlp_small", "q_d2rl", "tqc", "crossq"}


def test_the_papers_baselines_have_the_papers_learning_rates():
    for name, variant in load_study("paper-sac").variants.items():
        rates = {env: variant.settings(env)["learning_rate"] for env in ("HalfCheetah-v5", "Hopper-v5")}
        expected = {"HalfCheetah-v5": 1e-4, "Hopper-v5": 2e-5} if name == "sa_hyper" else dict.fromkeys(rates, 3e-4)
        assert rates == expected, name


def test_runs_come_by_priority_then_seed_by_seed(tmp_path):
    labels = [run.label for run in load_study(write(tmp_path)).runs()]
    assert labels == [
        "a/Pendulum-v1/seed-0",
        "a/Hopper-v5/seed-0",
        "a/Pendulum-v1/seed-1",
        "a/Hopper-v5/seed-1",
        "b/Pendulum-v1/seed-0",
        "b/Hopper-v5/seed-0",
        "b/Pendulum-v1/seed-1",
        "b/Hopper-v5/seed-1",
    ]


def test_a_part_of_a_study_has_the_same_runs(tmp_path):
    study = load_study(write(tmp_path))
    everything = {run.key: run.definition for run in study.runs()}
    part = {run.key: run.definition for run in study.only(["b"], ["Hopper-v5"], 1).runs()}
    key = ("study", "b", "Hopper-v5", "0")
    assert part == {key: everything[key]}
    assert {run.key: run.definition for run in study.only().runs()} == everything
    assert len(list(study.only(["b", "a"], seeds=2).runs())) == 8


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"variants": ["a", "c"]}, "study study: variants: c is not one of a, b"),
        ({"environments": ["Ant-v5"]}, "environments: Ant-v5 is not one of Pendulum-v1, Hopper-v5"),
        ({"seeds": 3}, "seeds: 3 is not a number from 1 to 2"),
    ],
)
def test_a_part_that_the_study_has_not_is_refused(tmp_path, part, message):
    with pytest.raises(StudyError, match=message):
        load_study(write(tmp_path)).only(**part)


def test_hyperparameters_replace_those_of_the_file(tmp_path):
    variants = {"a": {"file": "td3", "hyperparams": {"batch_size": 7, "policy_kwargs": {"critic": "mlp"}}}}
    settings = load_study(write(tmp_path, variants=variants)).variants["a"].settings("Hopper-v5")
    assert settings["batch_size"] == 7
    assert settings["policy_kwargs"] == {"critic": "mlp", "preset": "bounded"}
    assert settings["learning_rate"] == 3e-4


def test_the_buffer_is_no_longer_than_the_run(tmp_path):
    runs = {run.label: run.settings()[run.environment] for run in load_study(write(tmp_path)).runs()}
    assert runs["a/Pendulum-v1/seed-0"]["buffer_size"] == 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": -1}, r"steps: .*greater than 0"),
        ({"step": 5}, "step: there is no such key. Accepted: name, .*steps"),
        ({"steps": "1e5"}, r"steps: .* \(YAML reads 1e5 as text: write 100000 as plain digits\)"),
        ({"environments": []}, "environments: .*at least 1"),
        ({"environments": ["Hopper-v5", "Hopper-v5"]}, "environments are not all different: Hopper-v5, Hopper-v5"),
        ({"variants": {"a": {"file": "td3", "label": "b"}, "b": {"file": "td3"}}}, "labels are not all different: b, b"),
        ({"name": "../../elsewhere"}, "name '../../elsewhere': letters, digits"),
        ({"variants": {"a": {"algo": "td4", "file": "td3"}}}, "variants.a: .*algo 'td4' is not one of .*td3"),
        (
            {"variants": {"a": {"file": "td3", "hyperparams": {"x": {"lr": "1e-3"}}}}},
            "lr must be a number, got the text '1e-3'",
        ),
        ({"variants": {"a": {"file": "td3", "hyperparams": {"x": ["1e2"]}}}}, r"x\[0\] must be a number"),
        ({"variants": {"a": {"file": "td3", "hyperparams": {"buffer_size": None}}}}, "buffer_size must be a positive"),
        ({"variants": {"a": {"file": "td3", "hyperparams": {"x": datetime.date(2020, 1, 1)}}}}, "numbers, text, lists"),
        ({1: 2}, "1: "),
        ({"baseline": "c"}, "baseline 'c' is not one of the variants a, b"),
        ({"scale": "c"}, "scale 'c' is not one of the variants a, b"),
        ({"eval_freq": 2000}, "before the first evaluation"),
        (
            {"variants": {"a": {"file": "ppo"}}},
            "variants.a: .*file 'ppo' is not one of maml, maml_paper, pearl",
        ),
        ({"variants": {"a": {}}}, "variants.a: .*names a policy"),
        ({"variants": {"a": {"file": "td3", "lable": "x"}}}, "variants.a.lable: there is no such key. Accepted: .*label"),
        ({"variants": {"a/b": {"file": "td3"}}}, "variant 'a/b': letters, digits"),
        ({"variants": {"-a": {"file": "td3"}}}, "variant '-a': .* no - in front"),
    ],
)
def test_errors_name_file_and_key(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message) as caught:
        load_study(write(tmp_path, changes))
    assert "study.yml" in str(caught.value)


@pytest.mark.parametrize(
    ("variant", "algo"),
    [
        ({"file": "sac"}, "sac"),
        ({"file": "maml_paper"}, "maml"),
        ({"file": "td3", "algo": "ddpg"}, "ddpg"),
        ({"hyperparams": {"policy": "MlpPolicy"}}, "td3"),
    ],
)
def test_a_file_brings_its_algorithm(variant, algo):
    assert Variant(**variant).algo == algo


def test_other_files_are_refused(tmp_path):
    (tmp_path / "list.yml").write_text("- 1")
    (tmp_path / "broken.yml").write_text("a: [")
    with pytest.raises(StudyError, match="a mapping of keys is expected, got list"):
        load_study(str(tmp_path / "list.yml"))
    with pytest.raises(StudyError, match=r"broken.yml is not YAML"):
        load_study(str(tmp_path / "broken.yml"))
    with pytest.raises(StudyError, match=r"There is no study 'smok'. Known: .*smoke"):
        load_study("smok")


def test_yaml_is_loaded_safely(tmp_path):
    path = tmp_path / "evil.yml"
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(StudyError, match="is not YAML"):
        load_study(str(path))


def test_a_study_can_be_made_in_python():
    assert len(list(Study(name="x", **VALID).runs())) == 8


@pytest.mark.parametrize("task", ["velocity", "direction"])
@pytest.mark.parametrize("algo", ["maml", "pearl"])
def test_the_arms_of_the_papers_meta_learning_can_be_made(algo, task):
    study = load_study(f"paper-{algo}-{task}")
    env = make_vec_env(study.environments[0], n_envs=2)
    arms = {}
    for name, variant in study.variants.items():
        settings = variant.settings(study.environments[0])
        kwargs = {key: value for key, value in settings.items() if key not in ("n_envs", "n_timesteps", "callback")}
        arms[name] = ALGORITHMS[algo](env=env, device="cpu", **kwargs)
    sizes = {name: sum(value.numel() for value in model.policy.parameters()) for name, model in arms.items()}
    numbers = [len(model.train_tasks) for model in arms.values()]
    assert numbers == [100 if task == "velocity" else 2] * len(arms)
    if algo == "maml":
        assert sizes["vanilla"] < sizes["context"] < 20_000 < 1_000_000 < sizes["hyper"] == sizes["multi_task"]
        assert sizes["context"] == sizes["context_multi_task"]
        assert {name for name, model in arms.items() if model.multi_task} == {"multi_task", "context_multi_task"}
        assert arms["context_multi_task"].inner_learning_rate == arms["hyper"].policy.default_inner_learning_rate
        assert {model.order for model in arms.values()} == {"first"}
    else:
        assert sizes["mlp"] < 3_000_000 < sizes["hyper"]
        assert {model.n_prior_episodes for model in arms.values()} == {2}


@pytest.mark.parametrize(
    ("name", "algo", "steps", "whole"),
    [
        ("pearl-small", "pearl", [12_000, 60_000, 112_000], False),
        ("pearl-small", "pearl", [60_000, 120_000], True),
        ("pearl-small", "pearl", [60_000, 121_600], True),  # iterations end where they do
        ("pearl-small", "pearl", [], False),
        ("slim-search", "td3", range(5_000, 50_000, 5_000), False),
        ("slim-search", "td3", range(5_000, 50_001, 5_000), True),
    ],
)
def test_a_run_is_whole_with_its_last_evaluation(name, algo, steps, whole):
    assert load_study(name).is_whole(algo, list(steps)) == whole
