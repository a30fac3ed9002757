# Two commands matter to a newcomer: `make run` and `make test`. Both set up everything they need.
# python3, or the system's own of that version: a distribution builds it by profile, and an order takes a sixth less
# time than on one that was compiled here without (pyenv's default). In an environment that is active it is the environment's.
SYSTEM_PYTHON := /usr/bin/$(shell python3 -c 'import sys; print("python3.%d" % sys.version_info[1])')
CAN_BUILD = -c 'import ensurepip, os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null
PYTHON := $(or $(PYTHON),$(if $(VIRTUAL_ENV)$(CONDA_PREFIX),,$(shell $(SYSTEM_PYTHON) $(CAN_BUILD) && echo $(SYSTEM_PYTHON))),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# packages come by uv, in a third of pip's time: the one at hand, or the locked one; the locks are whole, so nothing is searched
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
INSTALL := $(UV) pip install --python $(BIN)/python --no-deps
LOCKED := $(INSTALL) --only-binary :all: --require-hashes
# a step that is silent for long, with its seconds where there is a terminal
counted = @echo '$(1)'; (s=0; while [ -t 2 ] && sleep 2 && kill -0 $$$$ 2>/dev/null; do s=$$((s + 2)); printf '\r%s s\r' $$s >&2; done) & $(1)
unexport PYTHONDONTWRITEBYTECODE  # every worker and every program of a test would compile each module anew

.PHONY: help setup setup-dev compiled run reached test second pages full coverage check front wheel-check sbom compare bench seconds bench-smoke release-check docs pictures lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: $(VENV)/.venues-ready  ## make .venv and install all that running needs

setup-dev: $(VENV)/.dev-ready

VENUES := -e parts/alpaca -e parts/deribit -e parts/ibkr

$(VENV)/.run-ready: requirements/run.lock requirements/uv.lock pyproject.toml $(wildcard parts/*/pyproject.toml)
	$(call counted,test -x $(BIN)/python || $(PYTHON) -m venv $(VENV))
	test -x $(UV) || $(PIP) install --no-compile --only-binary :all: --require-hashes -r requirements/uv.lock
	$(UV) pip uninstall --python $(BIN)/python --quiet setuptools  # Python 3.11's venv brings it; nothing here builds with it
	$(LOCKED) -r requirements/run.lock
	$(INSTALL) -e . -e parts/strategies -e parts/testing
	touch $@

$(VENV)/.venues-ready: $(VENV)/.run-ready requirements/venues.lock
	$(LOCKED) -r requirements/venues.lock
	$(INSTALL) $(VENUES)
	$(BIN)/scalpdesk doctor --warm-up
	touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready requirements/dev.lock
	$(INSTALL) --require-hashes --only-binary :all: --no-binary ibapi -r requirements/dev.lock  # its vendor publishes no wheel
	$(INSTALL) $(VENUES)
	$(BIN)/scalpdesk doctor --warm-up
	$(BIN)/python tests/compile_kernels.py
	$(BIN)/python -m pytest -qq --collect-only >/dev/null  # byte code of the tests, once for all workers
	touch $@

compiled: $(VENV)/.run-ready  ## the product as a wheel holds it, order path compiled, in .venv/compiled: PYTHONPATH=.venv/compiled (two minutes; needs gcc)
	rm -rf $(VENV)/to-compile $(VENV)/compiled && mkdir $(VENV)/to-compile
	cp -r src release pyproject.toml README.md LICENSE $(VENV)/to-compile  # the hook leaves what it compiles beside the sources
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(PIP) install --no-deps --target $(VENV)/compiled $(VENV)/to-compile

run: $(VENV)/.run-ready  ## the main job: a market session, traded and explained
	$(BIN)/scalpdesk demo

WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 1, 5) + 1)')  # some tests wait
# the threads of linear algebra would wait for one another, and turn while they wait
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
TESTS = $(PYTEST) -m "not slow and not pages and not second"

test: setup-dev  ## the tests, sockets blocked
	$(TESTS)

reached: setup-dev  ## the tests nearest to what changed since BASE (the branch left main, or the last commit), to the first fault
	@files=$$($(BIN)/python tests/rules/reach.py $(BASE)) || exit; test -z "$$files" || $(TESTS) -x $$files || test $$? = 5  # all of a later stage

second: setup-dev  ## fault trials, fuzz, disturbed quotes, notebooks, runs of whole days: the second stage
	$(PYTEST) -m "second and not slow"

pages: setup-dev  ## carry out every command of the pages of instructions (five minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "pages and not slow" -n $(WORKERS) --dist worksteal \
		-o faulthandler_timeout=900 tests/docs/test_page_commands.py

full:  ## all that is tried before an issue is called resolved (hours); writes build/full.md
	.ci/full

coverage: setup-dev  ## every test again, and which lines they reach
	$(TESTS) --cov --cov-report=term

check: setup-dev front  ## lint, format, types, layers, dead code, house rules, licences; the pages' scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python tests/rules/check.py
	$(BIN)/python release/licences.py

front: node_modules/.ready front/api.d.ts  ## the pages' scripts: types out of the API's description, lint, unit tests (needs node and npm)
	npm run --silent types
	npm run --silent lint
	npm run --silent test

node_modules/.ready: package-lock.json package.json .npmrc
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "The checks of the pages' scripts need Node 18.18 or newer and npm. Debian: apt-get install nodejs npm" >&2; exit 1; }
	npm ci --silent --no-progress --ignore-scripts
	touch $@

front/api.d.ts: $(VENV)/.dev-ready node_modules/.ready front/openapi.py $(shell find src/scalpdesk/web src/scalpdesk/monitor -name '*.py')
	mkdir -p build
	$(BIN)/python front/openapi.py >build/openapi.json
	node_modules/.bin/openapi-typescript build/openapi.json --output $@ >/dev/null

wheel-check: $(VENV)/.dev-ready  ## build wheel and sdist twice, install the wheel for each Python found, and use it (five minutes)
	$(BIN)/python release/check_wheel.py $(if $(COMPILED),--compiled)

sbom: $(VENV)/.dev-ready  ## the bill of materials of the wheel and its extras: build/scalpdesk.cdx.json
	$(BIN)/python release/sbom.py

compare: setup-dev  ## twenty backtests here and at the commit BASE: which decide, trade or earn otherwise?
	$(BIN)/python tests/compare_commits.py $(or $(BASE),HEAD)

bench: setup-dev compiled  ## measure against peers; writes docs/evidence/benchmarks.md and benchmarks/results.json
	$(BIN)/python benchmarks/run.py

seconds: setup-dev compiled  ## processor seconds of compiled runs beside the commit BASE (the last one of the record), in turns (twenty minutes): what is 1.1 times dearer fails
	$(BIN)/python benchmarks/seconds.py $(BASE)
	$(BIN)/python benchmarks/run.py --page

bench-smoke: setup-dev  ## a small run of our side of the benchmarks, with their equality checks
	$(BIN)/python benchmarks/run.py --smoke

release-check: setup-dev pictures  ## take the pictures anew, and what a release must survive besides: 100,000 fault trials, the slow tests, newly drawn examples (hours)
	$(BIN)/python -m pytest -q -m slow -o faulthandler_timeout=0
	$(TESTS) --hypothesis-profile=drawn
	$(BIN)/scalpdesk selftest --seeds 0:100000

docs: setup-dev  ## rewrite the generated pages, and build the site in build/site; a broken link fails
	$(BIN)/python docs/generate.py
	$(BIN)/python release/licences.py --write
	$(LOCKED) -r requirements/docs.lock
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

pictures: setup-dev  ## take the pictures of the pages, light and dark, from seeded sessions (needs Chromium; some minutes)
	$(BIN)/python docs/take_pictures.py

LOCK := $(BIN)/uv pip compile pyproject.toml -c requirements/constraints.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras --no-header --upgrade --quiet $(foreach part,scalpdesk $(patsubst parts/%,scalpdesk-%,$(wildcard parts/*)),--no-emit-package $(part))
lock: setup-dev  ## refresh the locks of versions and hashes
	$(LOCK) --extra web -o requirements/run.lock
	echo uv | $(UV) pip compile - --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet -o requirements/uv.lock
	$(LOCK) -c requirements/run.lock --extra web --group dev -o requirements/dev.lock
	$(LOCK) -c requirements/dev.lock --group docs -o requirements/docs.lock
	$(LOCK) -c requirements/dev.lock --extra web --extra alpaca --extra deribit --extra exchange --extra ibkr -o requirements/venues.lock
	npm update --package-lock-only --silent && node front/strip_lock.js

clean:  ## remove what set-up and the tools made
	rm -rf $(VENV) node_modules front/api.d.ts .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
