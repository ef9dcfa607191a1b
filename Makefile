# Every target installs what it needs first; the second time that takes a second.

BIN := .venv/bin
CARGO := cd mpc/native && PATH="$$PATH:$$HOME/.cargo/bin" nice cargo
PROVIDER := PATH="$$PATH:$$HOME/.cargo/bin" nice cargo
KRYOPTIC := --manifest-path tests/providers/kryoptic/Cargo.toml
FAULTY := --manifest-path tests/providers/faulty/Cargo.toml
UV_VERSION := 0.13.8
CARGO_DENY_VERSION := 0.20.2
PROJECTS := pyproject.toml deploy/custody-client/pyproject.toml
COMPILE := build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help install demo drill soak up down providers test mutants mutmut lint format audit sbom audittools bench reference docs wheel released recovery-kit lock clean promtool

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: ## install missing Debian packages, and the Python packages in .venv
	@devstack/bootstrap.sh

demo: install ## create wallets, sign with them, verify the signatures, and stop again
	@$(BIN)/python -m devstack demo

drill: install ## lose each part for real and bring it back (build/drill); some: make drill ARGS="database-primary-lost"
	@$(BIN)/python -m devstack.drills $(ARGS)

soak: install ## half load with a fault every 30 s, 20 minutes (build/soak); longer: make soak SOAK_MINUTES=600
	@$(if $(SOAK_MINUTES),SOAK_MINUTES=$(SOAK_MINUTES)) $(BIN)/python -m devstack.soak $(ARGS)

up: install ## start everything on this machine and leave it running (build/dev/env)
	@$(BIN)/python -m devstack up

down: install ## stop what `make up` started
	@$(BIN)/python -m devstack down

providers: ## build the PKCS#11 modules that only the tests use (~/.cache/custody keeps them)
	@devstack/providers.sh faulty kryoptic

test: install promtool providers ## run all tests and show their coverage; some: make test ARGS="tests/unit -x"
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@$(CARGO) test --workspace --release --locked --quiet
	@mkdir -p build/coverage
	@$(BIN)/pytest -n 2 --cov --cov-report= tests/unit
	@$(BIN)/python -m tests.coverage_of_decisions
	@$(BIN)/coverage html --quiet
	@echo "Unit tests alone cover $$($(BIN)/coverage report --format=total) %: build/coverage/html/index.html"
	@$(BIN)/pytest -n 2 --ignore=tests/unit
endif

mutants: install ## remove each guard in turn and check that a test fails; some: make mutants ARGS="2 11"
	@$(BIN)/python -m tests.mutants $(ARGS)

mutmut: install audittools ## change everything in what decides, and see what neither mypy nor a unit test notices
	@tests/mutants/decisions.sh

lint: install ## check format, style, types, the direction of imports, and words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m devstack.words
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --release --locked --quiet -- -D warnings
	$(PROVIDER) fmt $(FAULTY) --check
	$(PROVIDER) fmt $(KRYOPTIC) --check
	$(PROVIDER) clippy $(FAULTY) --all-targets --release --locked --quiet -- -D warnings

format: install ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(CARGO) fmt --all
	$(PROVIDER) fmt $(FAULTY)
	$(PROVIDER) fmt $(KRYOPTIC)

audit: install audittools ## check dependencies: licences, sources, vulnerabilities; ARGS=--offline
	@test -x build/cargo-tools/bin/cargo-deny || { echo "compiling cargo-deny (some minutes)" && \
		PATH="$$PATH:$$HOME/.cargo/bin" nice cargo install --locked --quiet --version $(CARGO_DENY_VERSION) \
		--root build/cargo-tools --target-dir build/cargo-tools/target cargo-deny && \
		rm -rf build/cargo-tools/target; }
	@$(BIN)/python -m devstack.dependencies audit $(ARGS)

sbom: wheel audittools ## list the components of both wheels and the crate: dist/*.cdx.json
	@$(BIN)/python -m devstack.dependencies sbom

promtool: ## fetch promtool, which checks the alarm rules (build/promtool/usr/bin/promtool), without Prometheus
	@test -x build/promtool/usr/bin/promtool || devstack/promtool.sh

audittools:
	@cmp --silent requirements-audit.lock build/audit/installed.lock || { $(BIN)/python -m venv --clear build/audit && \
		build/audit/bin/pip install --quiet --require-hashes --requirement requirements-audit.lock && \
		cp requirements-audit.lock build/audit/installed.lock; }

bench: install ## measure signatures a second, as ratios to the HSM's own limit
	@$(BIN)/python -m benchmarks $(ARGS)

reference: install ## write the pages of docs/reference that the source determines
	@$(BIN)/python -m devstack.reference
	@$(BIN)/python -m tests.mutants --write-page

docs: reference ## build the site of docs/ in build/site; a broken link is an error
	@cmp --silent requirements-docs.lock build/docs/installed.lock || { $(BIN)/python -m venv --clear build/docs && \
		build/docs/bin/pip install --quiet --require-hashes --requirement requirements-docs.lock && \
		cp requirements-docs.lock build/docs/installed.lock; }
	@build/docs/bin/zensical build --clean --strict

wheel: install ## build both wheels into dist/; hosts that install them need no Rust
	@rm -f dist/custody-*.whl dist/custody_client-*.whl
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation \
		--wheel-dir dist . ./deploy/custody-client
	@ls dist/custody-*.whl dist/custody_client-*.whl

released: install ## write tests/released/VERSION: databases with data, for tests of later upgrades
	@$(BIN)/python -m devstack.released $(ARGS)

recovery-kit: wheel ## make dist/recovery-kit: mpc-recover for a machine without a network
	@$(BIN)/python -m devstack.recovery_kit

lock: install ## resolve dependencies again; newer versions: make lock ARGS=--upgrade
	@test -x build/uv/bin/uv || $(BIN)/python -m venv build/uv
	@build/uv/bin/pip install --quiet uv==$(UV_VERSION)
	$(COMPILE) $(ARGS) $(PROJECTS) --extra dev --output-file requirements-dev.lock
	$(COMPILE) $(ARGS) $(PROJECTS) --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) $(ARGS) $(PROJECTS) --extra tracing --constraint requirements-dev.lock \
		--output-file requirements-tracing.lock
	$(COMPILE) $(ARGS) deploy/custody-client/pyproject.toml --constraint requirements-dev.lock \
		--output-file requirements-client.lock
	$(COMPILE) $(ARGS) devstack/dependencies/requirements.in --output-file requirements-audit.lock
	$(COMPILE) $(ARGS) docs/requirements.in --output-file requirements-docs.lock

clean: ## stop the local stack and delete everything that make built
	@if [ -e build/dev ] && [ -x $(BIN)/python ]; then $(BIN)/python -m devstack down; fi
	rm -rf build dist .venv mpc/_native*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
