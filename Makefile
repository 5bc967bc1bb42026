PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types format docs browser servers java unit lowest screenshots bench faults coverage fuzz sbom clean

$(VENV)/.installed: pyproject.toml constraints.txt tools/setup.sh
	PYTHON=$(PYTHON) bash tools/setup.sh $(VENV) '.[dev]'
	touch $@

$(VENV)/.runtime: pyproject.toml constraints.txt tools/setup.sh
	PYTHON=$(PYTHON) bash tools/setup.sh $(VENV) '.[serve]'
	touch $@

demo: $(VENV)/.runtime
	rm -rf demo
	$(BIN)/tonearm synth --preset tiny --out demo/log
	$(BIN)/tonearm run --events demo/log/events.parquet --items demo/log/items.parquet --test-from 2022-12-16 --out demo/run
	@echo 'Serve it: $(BIN)/tonearm publish demo/run --store demo/store'
	@echo '          $(BIN)/tonearm serve --store demo/store'

# make test T=tests/sources runs those tests alone: no lint, no types, and Chromium only where one of them uses it
ifeq ($(T),)
test: lint types unit
else
test: $(VENV)/.installed $(if $(shell grep -rlE "playwright" $(foreach test,$(T),$(firstword $(subst ::, ,$(test))))),browser)
	$(BIN)/pytest -n 2 $(T)
endif

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the pages, and the parts of pages, that are made from code and from benchmarks/results
docs: $(VENV)/.installed
	$(BIN)/python tools/cli_docs.py
	$(BIN)/python tools/config_docs.py
	$(BIN)/python tools/layout_docs.py
	$(BIN)/python tools/licences.py
	$(BIN)/python benchmarks/figures.py

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/mypy

browser:
	bash tools/browser.sh

servers:
	bash tools/servers.sh

java:
	bash tools/java.sh

unit: $(VENV)/.installed browser servers java
	$(BIN)/pytest -n 2

lowest:
	PYTHON=$(PYTHON) bash tools/lowest.sh $(VENV)-lowest

screenshots: $(VENV)/.installed browser
	$(BIN)/python tools/screenshots.py

bench: $(VENV)/.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/als.py
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/als_lenskit.py
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/topk.py
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/topk_faiss.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/compiling.py
	bash tools/peer.sh rectools
	rm -rf build/bench
	$(BIN)/tonearm synth --preset medium --out build/bench/log
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/content.py build/bench/log/events.parquet build/bench/log/items.parquet 2022-12-16
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/pipeline.py build/bench/log/events.parquet build/bench/log/items.parquet 2022-12-16 build/bench/pipeline

# by lines and branches, of commands and workers in processes of their own too
coverage: $(VENV)/.installed browser servers
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 2
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --sort=cover

# the components of what users install, as CycloneDX
sbom: $(VENV)/.installed
	$(BIN)/python tools/licences.py --sbom sbom.cdx.json

# every fault of tests/faults with all its tries, 200 kills among them
faults: $(VENV)/.installed
	$(BIN)/python benchmarks/faults.py --save faults

# 24 minutes of a processor over all parsers and loaders; a finding stops it
fuzz: $(VENV)/.installed
	PYTHON=$(PYTHON) bash tools/setup.sh $(VENV) '.[dev,fuzz]'
	nice -n 19 $(BIN)/python benchmarks/fuzz.py --save fuzz

clean:
	rm -rf $(VENV) $(VENV)-lowest demo
