# make help

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
METAWORLD = .venv-metaworld

ALGO = td3
ENV = HalfCheetah-v5
STEPS = 30000
PRESET = bounded
SEED = 0
THREADS = 1
EVAL_FREQ = $(shell expr $(STEPS) / 6 2>/dev/null)
EVAL_EPISODES = 10
LOGS = logs
STUDIES = slim-search critics-100k sac-100k gradient-accuracy paper-preset pearl-small maml-small
SLICE = 40m

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

train: $(VENV)/.zoo  ## Train an agent: ALGO=td3|sac|tqc ENV=... STEPS=... PRESET=bounded|paper SEED=... THREADS=... LOGS=... EVAL_FREQ=... EVAL_EPISODES=...
	@expr "$(STEPS)" : '[1-9][0-9]*$$' >/dev/null || { echo "STEPS must be a whole number of at least 1, got $(STEPS)"; exit 2; }
	@expr "$(EVAL_FREQ)" : '[1-9][0-9]*$$' >/dev/null || { echo "EVAL_FREQ must be a whole number of at least 1, got $(EVAL_FREQ)"; exit 2; }
	@expr "$(EVAL_EPISODES)" : '[1-9][0-9]*$$' >/dev/null || { echo "EVAL_EPISODES must be a whole number of at least 1, got $(EVAL_EPISODES)"; exit 2; }
	$(BIN)/python -m sb3_hyper.zoo train --algo $(ALGO) --env $(ENV) -n $(STEPS) --preset $(PRESET) --seed $(SEED) --num-threads $(THREADS) \
		--eval-freq $(EVAL_FREQ) --eval-episodes $(EVAL_EPISODES) -f $(LOGS) --verbose 0 --progress --tensorboard-log $(LOGS)/tensorboard

train-pearl: $(VENV)/.zoo  ## Train Hyper-PEARL to find goals that it is not told, in minutes: SEED=... THREADS=... LOGS=...
	$(BIN)/python -m sb3_hyper.zoo train --algo pearl --env PointGoal-v0 --seed $(SEED) --num-threads $(THREADS) \
		--eval-freq 4000 --eval-episodes 4 -f $(LOGS) --verbose 0 --progress --tensorboard-log $(LOGS)/tensorboard

study: $(VENV)/.zoo  ## Go on with the studies in the background, one worker, in turn: STUDIES="..." SLICE=40m
	mkdir -p logs/studies
	nohup nice -n 19 sh -c 'left=1; while [ $$left = 1 ]; do left=0; for study in $(STUDIES); do \
		$(BIN)/sb3-hyper study run $$study --results benchmarks/results --time-limit $(SLICE); status=$$?; \
		if [ $$status = 3 ]; then left=1; sleep 10; elif [ $$status -ge 128 ]; then exit; fi; done; done' \
		>> logs/studies/log.txt 2>&1 &
	@echo "Runs go on in the background: tail -f logs/studies/log.txt, $(BIN)/sb3-hyper study status NAME --results benchmarks/results"

test: $(VENV)/.dev  ## Run all tests
	$(BIN)/pytest -n auto --dist worksteal

quick: $(VENV)/.dev  ## Run the tests without long training
	$(BIN)/pytest -n auto --dist worksteal -q -m "not slow"

test-metaworld: $(METAWORLD)/.metaworld  ## Run the tests of Meta-World, in an environment with its MuJoCo
	$(METAWORLD)/bin/pytest tests/tasks/test_metaworld.py tests/tasks/test_metaworld_missing.py

docs: $(VENV)/.dev  ## Build the documentation in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --fresh-env --quiet docs docs/_build
	@echo "Documentation: docs/_build/index.html"

results: $(VENV)/.dev  ## Make the tables and figures in docs/results anew from the rows
	$(BIN)/python -m benchmarks.pages

lint: $(VENV)/.dev  ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(VENV)/.dev  ## Check types
	$(BIN)/mypy

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

check: format lint type quick  ## All of it, before a commit

clean:  ## Remove the environment and the caches
	rm -rf $(VENV) $(METAWORLD) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# An environment is complete when its stamp is there: an interrupted installation starts again, and so does
# one that was interrupted before venv had installed pip
$(VENV)/.%: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$*]"
	touch $@

# The same versions except for MuJoCo's
$(METAWORLD)/.metaworld: setup.cfg pyproject.toml constraints.txt
	test -x $(METAWORLD)/bin/pip || $(PYTHON) -m venv $(METAWORLD)
	grep -v '^mujoco' constraints.txt > $(METAWORLD)/constraints.txt
	$(METAWORLD)/bin/python -m pip install --quiet -c $(METAWORLD)/constraints.txt -e ".[metaworld]" pytest pytest-timeout
	$(METAWORLD)/bin/python -c "import metaworld"  # the tests would be skipped without it
	touch $@

.PRECIOUS: $(VENV)/.%
.PHONY: help train train-pearl study test test-metaworld quick docs results lint type format check clean
