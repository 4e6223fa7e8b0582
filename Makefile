# freqd: two commands do everything on a fresh machine.
#   make demo   sets up, runs the main job on the built-in data, prints where to look
#   make test   sets up, runs the tests
#   make bench  sets up, measures freqd against its peers and the machine's limits
#
# torch is the CPU build. For another one: make setup TORCH="torch==2.13.0" (PyPI's build for your system).

PYTHON ?= python3.11
VENV ?= .venv
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
WORKDIR ?= freqd-work
JOBS ?= 2
THREADS ?= 1

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow lint bench clean

setup: $(STAMP)

# An installed torch of the wanted version is kept; then the CPU wheel that pip already knows of; then PyTorch's own index.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing freqd and what it needs into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: setup
	$(BIN)/freqd run --preset quick --workdir $(WORKDIR)

test: setup
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

# One thread; with two: make bench THREADS=2. FREQD_DATA_DIR names the folder of the real data sets, else generated ones are used.
bench: setup
	$(BIN)/python -m benchmarks --threads $(THREADS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(WORKDIR)
