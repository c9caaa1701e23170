# The commands of the checkout; each sets up what is missing first. `make help` prints the list.
# PYTHON=... names the Python to make .venv with, ARGS=... goes to the program at the end (ARGS="-k sentence" for one test).
.DEFAULT_GOAL := help
.PHONY: help setup compile run test check bench fuzz sim chaos clean
export PYTHON
BIN := .venv/bin
ARGS :=
SEED := 0
N := 100
ROUNDS := 1
FAULTS :=
SECONDS := 60
TARGETS :=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

setup: ## .venv with curfew in it, and the jars of the embedded Kafka
	@sh deploy/setup.sh

compile: setup ## the core as machine code, out of the same files: needs a C compiler; without it, or after an edit, Python runs them
	@sh deploy/install-packages.sh compile-packages.txt
	@$(BIN)/python deploy/compile.py

run: setup ## the whole product on this machine, with a small simulated network; until Ctrl-C
	@exec $(BIN)/curfew up --demo $(ARGS)

test: setup ## every test that this machine can run; lists what it could not run and why
	@sh deploy/install-packages.sh apt-packages.txt
	@$(BIN)/pytest -rs $(ARGS)

check: setup ## ruff and mypy
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: setup ## figures beside their peers, into docs/benchmarks.md; QUICK=1: one short round of each, on the terminal only
	@sh deploy/install-packages.sh bench-packages.txt
	@$(MAKE) --no-print-directory compile || true # it says what is missing, and that the core then runs as Python
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

fuzz: setup ## octets from strangers against all that reads some: SECONDS=n for each target, TARGETS=a,b (all)
	@$(BIN)/pip install -q --disable-pip-version-check -r tests/fuzz/requirements.txt
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --targets "$(TARGETS)" $(ARGS)

sim: setup ## whole simulated networks in virtual time: SEED=first N=how-many; a seed that fails prints its shortest story
	@$(BIN)/python -m tests.sim $(SEED) $(N)

chaos: setup ## break the product under load and look whether anybody could tell: SEED=first ROUNDS=n FAULTS=a,b (all)
	@sh deploy/install-packages.sh chaos-packages.txt
	@$(BIN)/python -m tests.chaos --seed $(SEED) --rounds $(ROUNDS) --faults "$(FAULTS)" $(ARGS)

clean: ## remove what the commands above made, but not the data under var/kafka
	@rm -rf .venv var/kafka-libs build streams/.compiled dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
