# Two commands do everything: `make run` and `make test`. Both set up .venv first, once.

PYTHON  ?= python3
STUDY   ?= mlp_digits
TIMEOUT ?= 2m
TESTS   ?= tests
# Test processes at a time: more than two cores, because many tests wait for a lease, a deadline, a server.
JOBS    ?= 4
# The whole run that `make test-quick` adds to the unit tests.
QUICK   := tests/system/test_whole_runs.py::test_a_run_gives_exactly_the_trials_asked_for_and_the_same_command_adds_none

BIN   := .venv/bin
STAMP := .venv/.installed
# Hundreds of processes import the same files: compiled once, they are read, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
# mypy and the site's reference read files, not installations, so this is a tree of links that looks like the wheel.
TYPED := build/typed

# Private keys, tokens of known services, passwords in URLs; not checksums, of which this repository is full.
SECRETS := --no-verify --disable-plugin KeywordDetector --disable-plugin HexHighEntropyString \
	--disable-plugin Base64HighEntropyString --exclude-secrets '^(s3cr.*|own|pw|password|secret)$$'

.DEFAULT_GOAL := help
.PHONY: help install run test test-quick test-processors test-arm test-versions lint docs pictures bench gpu-check gpu-kit chaos clean $(TYPED)

help:
	@echo "make run      search $(STUDY) for $(TIMEOUT) (STUDY=mlp_mnist TIMEOUT=3h for another)"
	@echo "make test     the whole test suite, on a real PostgreSQL that comes with the package"
	@echo "make test-quick   the unit tests and one whole run: about a minute"
	@echo "make test-processors   the tests that compute, with shorter vectors and with other compilers"
	@echo "make test-arm   the kernels compiled by clang and for ARM64, which runs under qemu: nothing is skipped without a line"
	@echo "make test-versions   the unit tests on other versions of Python and torch, each installed for it (VERSIONS=--help)"
	@echo "make lint     ruff, mypy, and a scan for secrets"
	@echo "make docs     the documentation as a site in build/site; warnings are errors"
	@echo "make pictures   those of README.md and the site, from a run of two minutes (tmux, Chromium)"
	@echo "make bench    a short form of every benchmark (HPO_DATA_DIR: a folder with MNIST)"
	@echo "make gpu-check   is it right on the GPU of this machine, and how fast: nine minutes (GPU_CHECK=--help)"
	@echo "make gpu-kit  .kit, with which the check runs on a GPU machine without a network"
	@echo "make chaos    kill, restart, cut and stall for five minutes, then check that nothing is lost (CHAOS=--help)"
	@echo "make install  .venv with everything, quick the second time"
	@echo "make clean    remove caches and build products (.venv and .hpo stay)"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
		  echo "next: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: install
	$(BIN)/hpo run --study $(STUDY) --timeout $(TIMEOUT)

test: install
	$(BIN)/python -m pytest $(TESTS) -n $(JOBS) --dist worksteal --durations=20

test-quick: install
	$(BIN)/python -m pytest tests/unit $(QUICK) -n $(JOBS) --dist worksteal --durations=20

test-processors: install
	$(BIN)/python tests/processors.py

test-arm: install
	$(BIN)/python tests/kernels_elsewhere/check.py

test-versions: install
	$(BIN)/python tests/versions.py $(VERSIONS)

$(TYPED):
	rm -rf $(TYPED) && mkdir -p $(TYPED)/hpo
	ln -s $(CURDIR)/hpo/* $(CURDIR)/models $(CURDIR)/data $(CURDIR)/studies $(TYPED)/hpo

lint: install $(TYPED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(TYPED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook $(SECRETS)

docs: install $(TYPED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

pictures: install
	$(BIN)/python docs/pictures/take.py

bench: install
	$(BIN)/python -m benchmarks.startup --short
	$(BIN)/python -m benchmarks.coordination --short
	$(BIN)/python -m benchmarks.objective --short
	$(BIN)/python -m benchmarks.search_quality --short
	$(BIN)/python -m benchmarks.search_methods --tasks simulated --short
	$(BIN)/python -m benchmarks.scale --workers 8 64 --rounds 1 --seconds 8
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.steps --rounds 2
	$(BIN)/python -m benchmarks.vision --rounds 2 --seconds 2
	$(BIN)/python -m benchmarks.folders --short
	$(BIN)/python -m benchmarks.loaders --short
	$(BIN)/python -m benchmarks.search --short
	$(BIN)/python -m benchmarks.endurance --trials 300

gpu-check: install
	$(BIN)/python -m benchmarks.gpu_check $(GPU_CHECK)

gpu-kit: install
	bash benchmarks/gpu_check/kit.sh

chaos: install
	$(BIN)/python tests/system/faults/chaos.py $(CHAOS)

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
