# `make demo` and `make test` run as they are on a fresh machine: each makes the environment it needs.
PYTHON ?= python3
WORKERS ?= 2
# The benchmarks' demonstrations: `make bench DEMONSTRATIONS=<folder of env.npz>`. What ships with the package is not
# enough for all of them, and neither is the default where that folder does not exist.
DEMONSTRATIONS ?= $(wildcard ../shared/demos)
# The values of the paper's own table, to stand beside ours: a CSV of your own, or none.
PAPER ?= $(wildcard ../shared/paper/table3.csv)

# Small networks are slower on many threads than on one.
export OMP_NUM_THREADS ?= 1

DEMO := .venv/installed-demo
DEV := .venv/installed-dev
OLDEST := .venv-oldest/installed

.PHONY: help demo test test-oldest lint format bench paper-table clean

help:  ## Say what each target does.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(DEMO)  ## Imitate Hopper-v5 from the shipped demonstrations: a table and a learning curve, in a few minutes.
	.venv/bin/python examples/demo.py

test: lint  ## Lint, types and the whole test suite.
	.venv/bin/python -m pytest -n $(WORKERS)

test-oldest: $(OLDEST)  ## The tests that make sense with the oldest supported libraries.
	.venv-oldest/bin/python -m pytest

lint: $(DEV)  ## Formatting, lint and types.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: $(DEV)  ## Format and repair what ruff can.
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: $(DEV)  ## The main path's numbers in the documentation, as a table.
	.venv/bin/python benchmarks/main_path.py $(if $(DEMONSTRATIONS),--demonstrations $(DEMONSTRATIONS))

paper-table: $(DEV)  ## Every cell of the paper's table that is not done yet (days; it can be interrupted), and its page.
	.venv/bin/python benchmarks/paper_table.py $(if $(DEMONSTRATIONS),--demonstrations $(DEMONSTRATIONS)) $(CELLS)
	.venv/bin/python benchmarks/render.py --results runs/paper_table $(if $(PAPER),--paper $(PAPER))

clean:  ## Remove both environments.
	rm -rf .venv .venv-oldest

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(DEMO): .venv/bin/python pyproject.toml constraints.txt
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[cli,mujoco]'
	touch $@

# The imitation library's requirements cannot resolve beside the current stack, but its code runs there.
$(DEV): $(DEMO)
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[all,dev,benchmarks]'
	.venv/bin/python -m pip install --quiet -c constraints.txt --no-deps imitation
	touch $@

$(OLDEST): pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -c constraints-oldest.txt -e '.[imitation]' pytest
	touch $@
