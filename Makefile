# `make` alone lists the targets. Another interpreter: make setup PYTHON=python3.12
PYTHON ?= python3
PORT ?= 5000
JOBS ?= 2
# The tests of a file stay together: they share what its fixtures have made. Files start in their order, in which long
# and short ones alternate; by number of tests the few long ones would be left for the end.
PARALLEL = -n $(JOBS) --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
RUN := $(BIN)/python -m
SAMPLE := data/sample/tweets.csv

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format ui clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## Create .venv and install the package with its development tools

# The stamp is newer than pyproject.toml as long as nothing has to be installed.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: PYTHON=$(PYTHON): accepted: Python 3.11 or newer, such as make setup PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(RUN) pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup ## Train on the built-in sample, predict, evaluate
	$(RUN) behavesim.train run_name=demo
	$(RUN) behavesim.predict ckpt=checkpoints/demo input=$(SAMPLE) output=predictions.csv run_name=demo_predict
	$(RUN) behavesim.evaluate ckpt=checkpoints/demo data.path=$(SAMPLE) run_name=demo_evaluate
	@echo
	@cat outputs/demo/results.txt
	@echo
	@echo "artifact     checkpoints/demo"
	@echo "predictions  predictions.csv"
	@echo "tracking     make ui, then http://127.0.0.1:$(PORT)"

test: setup ## Run the tests but the slow ones
	$(RUN) pytest $(PARALLEL) -m "not slow"

test-all: setup ## Run every test
	$(RUN) pytest $(PARALLEL)

lint: setup ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Put style and format right where ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# MLflow's page opens on language model traces unless told so; one user needs neither its job runners nor four workers.
ui: setup ## Open MLflow's page on http://127.0.0.1:5000
	@echo "runs: http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --workers 1 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --host 127.0.0.1 --port $(PORT)

clean: ## Remove caches and build files; data, outputs, checkpoints and mlflow.db stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
