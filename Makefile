# The commands of the README. PYTHON and EXTRA may be set: `make EXTRA=gpu test` on a GPU host.
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
# Tests that run side by side, each on one thread.
WORKERS ?= 2
# Everything the demo and `make up` keep; a deployment sets its own.
export TASTEPRINT_HOME ?= $(CURDIR)/.tasteprint
# Its data is films: reasons say "because you watched".
export TASTEPRINT_VERB ?= watched

.PHONY: demo up test check bench clean

demo: $(VENV)/installed
	$(BIN)/tasteprint demo

up: $(VENV)/installed
	$(BIN)/tasteprint up

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) tests/e2e --backends infra
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --nbmake notebooks

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed
	@for name in memory ingest freshness serve train retrieval encode adapt beam promote pack; do $(BIN)/tasteprint bench $$name --json; done

clean:
	rm -rf $(VENV) .tasteprint .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA),dev]'
	touch $@
