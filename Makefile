# make run    the main job: how does transferability change with depth on COMPAS?
# make study  the paper's tabular study, on COMPAS and ACS Employment: docs/results/tabular.md, and why.md
# make study-images   the paper's study on images, CIFAR-10 and ImageNet: docs/results/images.md
# make study-changes  every kind of change between two models, and an audit's families: docs/results/changes.md
# make validate  the library against closed forms, published numbers and traps: docs/reference/validate.md
# make test   the test suite
# make test-long  tests of a minute or more that seldom change: orderings of methods, faults of the store, studies
# make test-slurm  sweeps on a real SLURM, started for them on this machine (root and Debian, otherwise skipped)
# make faults  injects faults into real jobs and compares the results (root, for small disks and host names)
# make check  ruff, mypy, codespell and the check of prose, as pre-commit runs them
# make docs   the site in site/, built strictly from docs/, conf/ and docstrings; in an environment of its own, .venv-docs
# make peers  the search against foolbox, in an environment of its own, .venv-peers
# make others  DiCE's counterfactuals on an exported model, rated beside ours, in .venv-others
# make lowest  the lowest versions that pyproject.toml allows, in .venv-lowest: two jobs and some tests with them
# make audit  the pinned versions against known vulnerabilities (pip-audit), in .venv-audit; needs a network
# make release  sdist and wheel into dist/, checked, and the main job run from the wheel in an empty environment
# Each sets up its environment first, and may be repeated: finished steps are skipped.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run study study-images study-changes validate test test-slow test-long test-data test-slurm faults check docs benchmarks peers others lowest audit release

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "cftransfer needs Python 3.11, 3.12 or 3.13; name one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev,slurm,dashboard]'
	touch $@

run: setup
	$(BIN)/python transfer.py -m model.layers=2,4,8

study: setup
	$(BIN)/python -m cftransfer.report.study --readme README.md

study-images: setup
	$(BIN)/python -m cftransfer.report.study --study images

study-changes: setup
	$(BIN)/python -m cftransfer.report.study --study changes

validate: setup
	$(BIN)/python -m cftransfer.validate

test: setup
	$(BIN)/python -m pytest

test-slow: setup
	$(BIN)/python -m pytest -m slow -n 3 --no-loadscope-reorder  # some wait; files of one long test must not come last

test-long: setup
	$(BIN)/python -m pytest -m long

test-data: setup
	$(BIN)/python -m pytest -m data

test-slurm: setup
	bash tests/slurm/install.sh
	$(BIN)/python -m pytest -m slurm -n 1

faults: setup
	$(BIN)/python tests/faults.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell $$(git ls-files)
	$(BIN)/python tests/prose.py

# The site is made by reading the sources; only the tools of the extra `docs` are installed, which takes seconds.
DOCS := $(PYTHON) -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"]))'
.venv-docs/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-docs
	$(DOCS) > .venv-docs/docs.txt
	.venv-docs/bin/python -m pip install --disable-pip-version-check -c constraints.txt -r .venv-docs/docs.txt
	touch $@

# The variable silences the theme's advertisement of its successor.
docs: .venv-docs/.done
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

benchmarks: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/rows.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/jobs.py
	$(BIN)/python benchmarks/many_models.py
	$(BIN)/python benchmarks/sweep.py --jobs 20  # without it 200, some minutes

# -c keeps torch and all that is shared at the versions of .venv.
.venv-peers/.done: pyproject.toml constraints.txt benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e . -r benchmarks/peers.txt
	touch $@

peers: .venv-peers/.done
	.venv-peers/bin/python benchmarks/peers.py

# DiCE brings xgboost; its wheel for Linux needs NVIDIA's NCCL (200 MB).
.venv-others/.done: pyproject.toml constraints.txt benchmarks/others.txt
	$(PYTHON) -m venv .venv-others
	.venv-others/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e . -r benchmarks/others.txt
	touch $@

OTHERS := .venv-others/bin/python
others: .venv-others/.done
	$(OTHERS) train.py export=outputs/others/models wandb=disabled
	$(OTHERS) benchmarks/dice.py outputs/others/models outputs/others/dice-genetic.parquet --method genetic
	$(OTHERS) benchmarks/dice.py outputs/others/models outputs/others/dice-random.parquet --method random
	$(OTHERS) benchmarks/others.py outputs/others/models outputs/others/dice-genetic.parquet outputs/others/dice-random.parquet

# The floors of pyproject.toml as constraints; everything that these require is the newest.
.venv-lowest/.done: pyproject.toml constraints.txt benchmarks/lowest.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python benchmarks/lowest.py > .venv-lowest/floors.txt
	.venv-lowest/bin/python -m pip install --disable-pip-version-check -c .venv-lowest/floors.txt -e '.[slurm]' \
	  hypothesis pytest pytest-timeout pytest-xdist
	touch $@

LOWEST := ../.venv-lowest/bin/python
lowest: .venv-lowest/.done
	mkdir -p outputs
	cd outputs && $(LOWEST) ../transfer.py debug=fast wandb=offline
	cd outputs && $(LOWEST) ../transfer.py debug=fast wandb=offline model=random_forest counterfactual=growing_spheres
	.venv-lowest/bin/python -m pytest -p no:cacheprovider -W ignore::DeprecationWarning -W ignore::FutureWarning \
	  tests/models/test_population.py tests/report/test_figures.py tests/test_statistics.py tests/test_store.py tests/data/test_compas.py

.venv-audit/.done:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --disable-pip-version-check pip-audit
	touch $@

# --strict: a version that nobody could be asked about is a failure, not a line that says "skipped".
audit: .venv-audit/.done
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

.venv-release/.done:
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --disable-pip-version-check 'build>=1.6,<2' 'twine>=7,<8'
	touch $@

release: .venv-release/.done
	.venv-release/bin/python tests/release.py
