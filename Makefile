# Everything here works from a fresh clone on Debian as root, with Python 3.11, git and make.
SHELL := /bin/bash
.DELETE_ON_ERROR:
VENV := .venv
RUN := "$(CURDIR)/$(VENV)/bin"

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

.PHONY: demo
demo: ## Deploy Nomad, build the image, run the flights job, show its report, tear down (KEEP=1 keeps)
	@scripts/bootstrap demo
	@scripts/with-root scripts/demo

.PHONY: test
test: ## Set up what the tests need and run all of them
	@scripts/bootstrap test
	@scripts/with-root scripts/test

.PHONY: test-unit
test-unit: ## Run the tests that need no server, in two processes (about a minute)
	@scripts/bootstrap unit
	@scripts/test-unit -q

.PHONY: test-slow
test-slow: ## Run the tests that take many minutes, such as building Nomad from its source
	@scripts/bootstrap test
	@scripts/with-root $(RUN)/python -m pytest -q -m slow

.PHONY: test-faults
test-faults: ## Run the long tests of what happens when something fails
	@scripts/bootstrap test
	@scripts/with-root $(RUN)/python -m pytest -q -m "slow or not slow" tests/faults

.PHONY: lint
lint: ## Check format, lint, types, layers and generated files
	@scripts/bootstrap unit
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy -p cloudmesh.sparknomad
	@$(RUN)/lint-imports
	@$(RUN)/bandit -q -ll -r cloudmesh 2>/dev/null
	@$(RUN)/pymarkdown --config=.pymarkdown.json scan README.md CHANGELOG.md CONTRIBUTING.md report.md docs
	@$(RUN)/python scripts/make_reference.py --check

.PHONY: format
format: ## Format the code, and mend what the linter can
	@scripts/bootstrap unit
	@$(RUN)/ruff check --fix -q .
	@$(RUN)/ruff format .

.PHONY: reference
reference: ## Generate docs/reference, the JSON Schemas and the README's manual from the code
	@scripts/bootstrap unit
	@$(RUN)/python scripts/make_reference.py

.PHONY: benchmark
benchmark: ## Measure all against the bare tools (PRESET=smoke|short|medium|full); one JSON in benchmarks/results
	@scripts/bootstrap test
	@scripts/with-root scripts/benchmark

.PHONY: benchmark-deploy
benchmark-deploy: ## Measure deployment, scaling and teardown
	@scripts/bootstrap test
	@scripts/with-root scripts/benchmark deploy

.PHONY: benchmark-pipeline
benchmark-pipeline: ## Measure jobs, staging, queries, pipelines and the service
	@scripts/bootstrap test
	@scripts/with-root scripts/benchmark pipeline

.PHONY: benchmark-compare
benchmark-compare: ## Show what became slower between two results (OLD=FILE NEW=FILE, else the last two)
	@scripts/bootstrap unit
	@$(RUN)/python scripts/benchmark_compare.py $(OLD) $(NEW)

.PHONY: report
report: ## Fill the report's tables and figures from its JSON, check it, render HTML and PDF
	@scripts/bootstrap test
	@$(RUN)/python scripts/make_report.py

.PHONY: docs
docs: ## Build the documentation's site into build/site
	@scripts/bootstrap unit
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --strict
	@echo "written: build/site/index.html"

.PHONY: diagrams
diagrams: ## Draw docs/diagrams/*.dot as SVG
	@command -v dot >/dev/null || apt-get install -y -qq --no-install-recommends graphviz >/dev/null
	@for source in docs/diagrams/*.dot; do dot -Tsvg -o "$${source%.dot}.svg" "$$source"; done

.PHONY: audit
audit: ## Look for known vulnerabilities of what is installed; needs the data of PyPI or OSV
	@scripts/bootstrap unit
	@$(RUN)/python -m pip install -q pip-audit
	@$(RUN)/pip-audit --skip-editable

.PHONY: package
package: ## Build the wheel and the source distribution into dist/
	@scripts/bootstrap unit
	@$(RUN)/python -m build --no-isolation --outdir dist .

.PHONY: clean
clean: ## Remove what was made in this directory; caches in the home directory stay
	rm -rf $(VENV) build dist .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
