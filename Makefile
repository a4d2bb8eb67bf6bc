# `make demo` and `make test` make their own .venv; PYTHON picks another interpreter for it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Workers for pytest: more than cores, because tests wait for servers half of their time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(3 * len(os.sched_getaffinity(0)))')
# Where it is set, each worker compiles all tests by itself, which takes half a minute in all.
export PYTHONDONTWRITEBYTECODE :=
# What of Ansible's is no test of pytest's.
ANSIBLE_ALONE := ansible-molecule ansible-integration ansible-lint
# Neighbours stay together, because they share servers.
PYTEST := python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo web routing test pytest pytest-shown test-ansible test-clients faults
.PHONY: check words docs reference bench fuzz sanity collection changelog
.PHONY: dist format clean ansible-lint ansible-plays ansible-integration ansible-molecule

help:
	@echo "make demo    see it work: Postgres, three InfluxDB 3 stand-ins, 12 tenants"
	@echo "make web     the HTTP service and its console, with all that they need, until Ctrl-C"
	@echo "make routing clients write through nginx while their tenants are moved"
	@echo "make test    the tests, with those of the Ansible modules"
	@echo "make check   ruff, mypy --strict, import-linter, make words, make docs"
	@echo "make docs    build the documentation's site into build/docs"
	@echo "make format  let ruff format the code"
	@echo "make clean   remove .venv and what was built"
	@echo
	@echo "make faults        tests where servers and connections end, hang or fall silent;"
	@echo "                   MINUTES=30 SEED=1: so long at random, with a table of the results"
	@echo "make test-clients  tests where programs of others talk to influxops"
	@echo "make bench         influxops beside other ways, in 25 minutes; SIZE=small: in one or two"
	@echo "make fuzz          many more inputs for each parser than make faults has, for half an hour"
	@echo "make test-ansible  the part of make test that is about Ansible"
	@echo "make reference     write docs/reference from the code"
	@echo "make words         phrases that the field has a word for (tests/words.txt)"
	@echo "make sanity        ansible-test sanity on the collection, its changelog, and galaxy-importer"
	@echo "make collection    build the collection into dist/"
	@echo "make changelog     write the collection's changelog from its fragments"
	@echo "make dist          build a wheel and an sdist into dist/, and check their metadata"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "influxops needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "On Debian: apt-get install python3-venv"; exit 1; }

# A stamp an extra, so that what is installed is installed once.
$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.web: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,queue,web]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.web

demo: $(VENV)/.demo
	@$(BIN)/influxops demo

web: $(VENV)/.web
	@$(BIN)/influxops demo --web

routing: $(VENV)/.demo
	@$(BIN)/influxops demo --routing

# What is one process after the other runs beside the tests, and is shown when it has ended.
test: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs --output-sync=target pytest-shown $(ANSIBLE_ALONE)

# In a new checkout, one process compiles the tests, where else each worker would compile all of them.
pytest: $(VENV)/.dev
	@$(if $(wildcard tests/__pycache__/conftest.*),,-$(BIN)/python -m pytest --collect-only -qq > /dev/null)
	$(BIN)/$(PYTEST) -m 'not faults and not clients'

pytest-shown:
	@$(MAKE) --no-print-directory --jobs=1 --output-sync=none pytest

# With MINUTES, the long version of one of them, and nothing else: make faults MINUTES=30 SEED=1
SEED ?= 1
faults: $(VENV)/.dev
ifdef MINUTES
	$(BIN)/python -m tests.faults --minutes $(MINUTES) --seed $(SEED) $(OPTIONS)
else
	$(BIN)/$(PYTEST) --ignore=tests/ansible -m faults
endif

test-clients: $(VENV)/.dev
	$(BIN)/$(PYTEST) -m clients

fuzz: $(VENV)/.dev
	INFLUXOPS_FUZZ=long $(BIN)/$(PYTEST) tests/fuzz

# Molecule and ansible-lint look for Ansible's programs in PATH; Ansible insists on UTF-8.
ANSIBLE_PARTS := ansible-plays $(ANSIBLE_ALONE)
$(ANSIBLE_PARTS) sanity collection changelog: export PATH := $(abspath $(BIN)):$(PATH)
$(ANSIBLE_PARTS) sanity collection changelog: export LC_ALL := C.UTF-8

# Two at once, because each but the plays is one process after the other.
test-ansible: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(ANSIBLE_PARTS)

ansible-lint: $(VENV)/.dev
	ansible-lint
	python ansible/collection.py lint

ansible-plays: $(VENV)/.dev
	$(PYTEST) tests/ansible -m 'not clients'

ansible-integration: $(VENV)/.dev
	python ansible/collection.py integration

ansible-molecule: $(VENV)/.dev
	molecule test --all --no-command-borders

sanity: $(VENV)/.dev
	python ansible/collection.py sanity

collection: $(VENV)/.dev
	python ansible/collection.py build

changelog: $(VENV)/.dev
	python ansible/collection.py changelog

dist: $(VENV)/.dev
	rm -f dist/influxops-*.whl dist/influxops-[0-9]*.tar.gz
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/influxops-*.whl dist/influxops-[0-9]*.tar.gz

# What it found is in build/bench.txt, .json and .svg; DOCS=1 writes docs/performance.md, too.
SIZE ?= full
bench: $(VENV)/.dev
	@$(BIN)/python -m bench --size $(SIZE) $(if $(DOCS),--docs) $(if $(BASE),--base $(BASE)) $(CASES)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory words docs

words: $(VENV)/.dev
	@$(BIN)/python tests/words.py

docs: $(VENV)/.dev
	@$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning -c docs/site -d build/doctrees docs build/docs

reference: $(VENV)/.dev
	@$(BIN)/python -m docs.generate

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .schemathesis .hypothesis
