# Each command sets up everything that it needs, in a private virtual environment:
#   make test   lint, types, tests, C-level API and packaging on the default Python
#   make demo   a server and a client, plain and TLS: round trips per second and latencies
#   make docs   the documentation site, in site/; every warning is an error
#   make dev    .venv-dev: wheels of this checkout, what the tests import, linters (CONTRIBUTING.md)
#   make market a synthetic market, live at http://127.0.0.1:8080/
# Every other interpreter found, after the first `make test`: .venv-build/bin/tox

PYTHON ?= python3
TOX := .venv-build/bin/tox
# The same requirements as in tox.ini, so that tox has no need to install itself again.
TOX_REQUIREMENTS := "tox>=4.23" "virtualenv<21.5"

.PHONY: test demo market clean

test: $(TOX)
	$(TOX) run -e lint,types,py,abi,packaging

$(TOX): Makefile
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python -m pip install --quiet --upgrade $(TOX_REQUIREMENTS)
	touch $@

demo: .venv-demo/bin/python
	.venv-demo/bin/python tools/install_wheels.py .venv-demo/wheels
	.venv-demo/bin/python -m pip install --quiet -r examples/requirements.txt
	.venv-demo/bin/python -m examples.demo

# For example: make market ARGS="--url ws://0.0.0.0:8080"
market: .venv-demo/bin/python
	.venv-demo/bin/python tools/install_wheels.py .venv-demo/wheels
	.venv-demo/bin/python -m examples.market $(ARGS)

.venv-demo/bin/python:
	$(PYTHON) -m venv .venv-demo

# The wheels are those of the tests; site/index.html can be opened without a web server.
.PHONY: docs
docs: $(TOX)
	$(TOX) run -e docs

.PHONY: dev
dev: .venv-dev/bin/python
	.venv-dev/bin/python tools/install_wheels.py .venv-dev/wheels
	.venv-dev/bin/python -m pip install --quiet -r tests/requirements.txt -r tools/requirements.txt

.venv-dev/bin/python:
	$(PYTHON) -m venv .venv-dev

clean:
	rm -rf .venv-build .venv-demo .venv-dev .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis site docs/reference/*.rst
	find packages tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f packages/*/src/*/*.c packages/*/src/*/*.so packages/*/src/*/*.pyd

# Everything takes more than an hour on a machine that does nothing else. One scenario, for example:
#   make bench ARGS="--only echo-client-256 --rounds 3"
.PHONY: bench
bench: $(TOX)
	$(TOX) run -e bench -- $(ARGS)

# Other libraries, npm's ws, Chromium and Firefox; a root on Debian needs to install nothing before.
.PHONY: interop
interop: $(TOX)
	$(TOX) run -e interop
