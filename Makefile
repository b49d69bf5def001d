# Each command sets up everything that it needs, in a private virtual environment.
# `make help` lists those whose line has a text behind "##". Every other interpreter found, after the
# first `make test`: .venv-build/bin/tox

PYTHON ?= python3
TOX := .venv-build/bin/tox
# The same requirements as in tox.ini, so that tox has no need to install itself again.
TOX_REQUIREMENTS := "tox>=4.23" "virtualenv<21.5"
# A release of pip that is newer than an environment's own is no news for who types `make`.
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo market test docs dev bench interop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

# -W: cryptography, which makes the certificate, announces the end of old interpreters.
demo: .venv-demo/bin/python ## a server and a client: plain, TLS, coroutines, compressed, a burst
	@.venv-demo/bin/python tools/install_wheels.py .venv-demo/wheels
	@.venv-demo/bin/python -m pip install --quiet -r examples/requirements.txt
	@.venv-demo/bin/python -W ignore -m examples.demo

# For example: make market ARGS="--url ws://0.0.0.0:8080"
market: .venv-demo/bin/python ## a synthetic market by topics, live at http://127.0.0.1:8080/
	@.venv-demo/bin/python tools/install_wheels.py .venv-demo/wheels
	@.venv-demo/bin/python -m examples.market $(ARGS)

.venv-demo/bin/python:
	@$(PYTHON) -m venv .venv-demo

test: $(TOX) ## lint, types, the whole suite, C-level API and packaging
	@echo "lint:      format, linters, compiler warnings"
	@echo "py:        the tests, on wheels that are built first"
	@echo "types:     mypy, pyright, and the stubs against the wheels"
	@echo "abi:       the C-level API, and extensions of others that use it"
	@echo "packaging: what the wheels and sdists hold, and whether each installs by itself"
	@echo "About 20 minutes on two cores. The last three run beside the tests, and show only what fails."
	@$(TOX) run -e lint
	@$(MAKE) --no-print-directory --jobs 2 test-py test-rest

.PHONY: test-py test-rest
test-py: $(TOX)
	@$(TOX) run -e py

test-rest: $(TOX)
	@mkdir -p .tox
	@$(TOX) run -e types,abi,packaging > .tox/rest.log 2>&1 || { cat .tox/rest.log; exit 1; }
	@tail -n 5 .tox/rest.log

$(TOX): Makefile
	@$(PYTHON) -m venv .venv-build
	@.venv-build/bin/python -m pip install --quiet --upgrade $(TOX_REQUIREMENTS)
	@touch $@

# The wheels are those of the tests; site/index.html can be opened without a web server.
docs: $(TOX) ## the documentation as a site, in site/; every warning is an error
	@$(TOX) run -e docs

dev: .venv-dev/bin/python ## .venv-dev: wheels of this checkout, what the tests import, linters
	@.venv-dev/bin/python tools/install_wheels.py .venv-dev/wheels
	@.venv-dev/bin/python -m pip install --quiet -r tests/requirements.txt -r tools/requirements.txt

.venv-dev/bin/python:
	@$(PYTHON) -m venv .venv-dev

# One scenario, for example: make bench ARGS="--only echo-client-256 --rounds 3"
bench: $(TOX) ## all figures, next to other libraries: more than an hour
	@$(TOX) run -e bench -- $(ARGS)

# A root on Debian needs to install nothing before.
interop: $(TOX) ## tests with other libraries, npm's ws, Chromium and Firefox
	@$(TOX) run -e interop

clean: ## remove what the others have made
	rm -rf .venv-build .venv-demo .venv-dev .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis site docs/reference/*.rst
	find packages tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f packages/*/src/*/*.c packages/*/src/*/*.so packages/*/src/*/*.pyd
