# make demo     install into a virtual environment and serve the gallery at http://127.0.0.1:8050
# make test     install what the tests need, three browsers included, and run lint, types and all tests
# make docs     build the documentation site into build/docs, with each warning an error
#
# make release-check   build what a release consists of, and run it where nothing else is installed; PYTHONS says which
#
# make bench    what it costs, beside references in the same run: fifteen minutes, into benchmarks/results
# make soak     20,000 streams through everything that can end them, with a report; WORKERS=3 also kills and replaces workers
# make plotly-suite CHECKOUT=...   Plotly's own tests, with Dash and with Flash (docs/plotly-suite.md)
#
# PYTHON says which Python: make test PYTHON=python3.13
# DASH says which Dash the tests run on: make pytest DASH=4.5.0rc2
# PROCESSES says how many test files run at a time: make pytest PROCESSES=4

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(VERSION)
BIN := $(VENV)/bin
DASH ?=
DASH_VENV := $(VENV)-dash-$(DASH)
TESTED := $(if $(DASH),$(DASH_VENV),$(VENV))
CHROMIUM ?= /usr/bin/chromium
CHROMEDRIVER ?= /usr/bin/chromedriver
FIREFOX ?= /usr/bin/firefox-esr
WEBKIT_DRIVER ?= /usr/bin/WebKitWebDriver
XVFB ?= /usr/bin/Xvfb
NGINX ?= /usr/sbin/nginx
REDIS ?= /usr/bin/redis-server
STREAMS ?= 20000
PROCESSES ?= 2
WORKERS ?= 1
TESTS ?= tests
SUITE ?=
PYTHONS ?= python3.11 python3.13
TAG ?=

.PHONY: demo test lint types pytest docs release-check bench soak plotly-suite clean

demo: $(VENV)/demo.stamp
	$(BIN)/python -m examples.gallery

test: lint types pytest

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/test.stamp node_modules/.package-lock.json
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(CURDIR)/$(BIN):$$PATH" node_modules/.bin/tsc
	PATH="$(CURDIR)/$(BIN):$$PATH" node_modules/.bin/tsc -p tsconfig.hub.json

# The files stay in their order, so that those of one folder share a browser.
pytest: $(TESTED)/test.stamp $(CHROMIUM) $(CHROMEDRIVER) $(FIREFOX) $(WEBKIT_DRIVER) $(XVFB) $(NGINX) $(REDIS)
	$(TESTED)/bin/python -X dev -m pytest --numprocesses=$(PROCESSES) --dist=loadfile --no-loadscope-reorder $(TESTS)

docs: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs build/docs

release-check: $(VENV)/test.stamp $(CHROMIUM)
	$(BIN)/python -m tools.release_check $(if $(TAG),--tag $(TAG)) $(PYTHONS)

bench: $(VENV)/bench.stamp $(CHROMIUM)
	$(BIN)/python -m benchmarks

soak: $(VENV)/test.stamp
	$(BIN)/python -m tests.faults.soak --streams $(STREAMS) --workers $(WORKERS)

plotly-suite: $(BIN)/python
	$(BIN)/python -m tools.plotly_suite --checkout "$(CHECKOUT)" $(SUITE)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/test.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/docs.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/bench.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

# Another Dash in front of all the rest: an environment of its own, so that servers that tests start have it too.
ifneq ($(DASH),)
$(DASH_VENV)/test.stamp: $(VENV)/test.stamp
	$(BIN)/python -m venv --without-pip $(DASH_VENV)
	echo 'import site; site.addsitedir("$(abspath $(VENV))/lib/python$(VERSION)/site-packages")' \
		> $(DASH_VENV)/lib/python$(VERSION)/site-packages/tested.pth
	$(BIN)/python -m pip --python $(DASH_VENV) install --quiet 'dash==$(DASH)'
	touch $@
endif

node_modules/.package-lock.json: $(VENV)/test.stamp package.json package-lock.json
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(CHROMIUM):
	apt-get update && apt-get install --yes chromium

$(CHROMEDRIVER): | $(CHROMIUM)
	apt-get update && apt-get install --yes chromium-driver

$(FIREFOX):
	apt-get update && apt-get install --yes --no-install-recommends firefox-esr

$(WEBKIT_DRIVER):
	apt-get update && apt-get install --yes --no-install-recommends webkit2gtk-driver

$(XVFB):
	apt-get update && apt-get install --yes --no-install-recommends xvfb

$(REDIS):
	apt-get update && apt-get install --yes --no-install-recommends redis-server

$(NGINX):
	apt-get update && apt-get install --yes --no-install-recommends nginx-light

clean:
	rm -rf .venv-* node_modules .plotly-suite build dist
