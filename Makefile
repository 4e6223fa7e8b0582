# freqd: two commands do everything on a fresh machine.
#   make demo   sets up, runs the main job on the built-in data, prints where to look
#   make test   sets up, runs the tests
#   make bench  sets up, measures freqd against its peers and the machine's limits (make peers: RecBole among them)
#   make wheels collects what an installation without a network needs
#
# torch is the CPU build. For another one: make setup TORCH="torch==2.13.0" (PyPI's build for your system).

PYTHON ?= python3.11
VENV ?= .venv
TORCH ?= torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
WORKDIR ?= freqd-work
JOBS ?= 2
THREADS ?= 1
WHEELS ?= wheels

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RAY := $(VENV)/.ray
PEERS := .peers

.PHONY: setup demo test test-ray test-slow test-faults audit lint bench bench-scale bench-ray bench-gpu peers wheels clean

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
	@$(BIN)/freqd run --preset quick --workdir $(WORKDIR)
	@echo
	@echo "next        source $(BIN)/activate      # then freqd is a command of this shell"
	@echo "            freqd up --workdir $(WORKDIR)     # the run in the Prefect and MLflow pages; freqd down"
	@echo "            freqd init purchases.csv     # settings for your own data"

test: setup
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not faults and not ray"

test-ray: $(RAY)
	$(BIN)/python -m pytest -m ray tests/ray

$(RAY): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ray]"
	@touch $(RAY)

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Kills, full disks, damage, races and fuzzing: 24 minutes. Its counts are the table in docs/reliability.md.
test-faults: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m faults tests/faults

# Known weaknesses of the packages that are installed, by pip-audit in an environment of its own; needs the network.
audit: $(PEERS)/audit/bin/pip-audit
	$(PEERS)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

$(PEERS)/audit/bin/pip-audit:
	@$(PYTHON) -m venv $(PEERS)/audit
	@$(PEERS)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit

# One thread; with two: make bench THREADS=2. FREQD_DATA_DIR names the folder of the real data sets, else generated ones are used.
bench: setup
	$(BIN)/python -m benchmarks --threads $(THREADS)

# Hours: 100 million interactions, some parts of the work and a whole run; then ingest of a billion rows. 30 GB of disk, 23 GiB of memory.
bench-scale: setup
	$(BIN)/python -m benchmarks.scale --threads $(THREADS)
	$(BIN)/python -m benchmarks.scale_run --threads 2
	$(BIN)/python -m benchmarks.billion --threads 2

# On a cluster of Ray of one and of two nodes of this machine: the better part of an hour.
bench-ray: $(RAY)
	$(BIN)/python -m benchmarks.cluster

# Needs CUDA: make setup TORCH=... first.
bench-gpu: setup
	$(BIN)/python -m benchmarks.gpu --threads $(THREADS)

# RecBole in its own environment, for the benchmark `recbole`; without it `make bench` leaves its rows out.
peers: $(PEERS)/recbole/.installed

$(PEERS)/recbole/.installed: benchmarks/peers/recbole.txt
	@test -x $(PEERS)/recbole/bin/python || $(PYTHON) -m venv $(PEERS)/recbole
	@echo "installing RecBole into $(PEERS)/recbole (a few minutes, once)"
	@$(PEERS)/recbole/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" 2>/dev/null \
		|| $(PEERS)/recbole/bin/python -m pip install --quiet --disable-pip-version-check --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	@$(PEERS)/recbole/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/recbole.txt
	@touch $@

# freqd and everything it needs, in the versions of constraints.txt, for this system and Python; see docs/operations.md.
# torch as for setup. What an earlier build left would go into the wheel.
wheels:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -rf build
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check -c constraints.txt -w $(WHEELS) "$(TORCH)" ".[index]" 2>/dev/null \
		|| $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --extra-index-url $(TORCH_INDEX) \
			-c constraints.txt -w $(WHEELS) "$(TORCH)" ".[index]"
	@rm -rf build
	@echo "$(WHEELS): $$(ls $(WHEELS) | wc -l) wheels, $$(du -sh $(WHEELS) | cut -f1)"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(PEERS) $(WORKDIR)
