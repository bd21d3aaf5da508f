# make setup | test | test-slow | test-rounding | lint | demo | clean | distclean
#
# Every target first sets up what it needs; a second call skips what is done.
#
# PYTHON names the interpreter (or environment folder) to start from:
#   a virtual or conda environment with torch >= 2.6: everything else is installed into
#     that environment, and its torch is kept;
#   a system interpreter with torch >= 2.6: .venv is created on top of it and sees it;
#   anything else: .venv is created from it and gets the tested torch.
# OPS=compiled builds mmcv's operators (a C++ compiler, minutes, and nvcc for a GPU);
#   without it torchvision's are used where it is there, plain torch otherwise.
# ARGS is handed to pytest, for example: make test ARGS='tests/losses -k pkd'

PYTHON ?= python3
INTERPRETER := $(if $(wildcard $(PYTHON)/bin/python),$(PYTHON)/bin/python,$(PYTHON))
# Sets up the environment, then runs its interpreter with the arguments that follow.
RUN := $(INTERPRETER) tools/setup_env.py
ARGS ?=
# Each process starts at a place of its own, so that neighbouring tests find what their
# file has made, and one that is done takes over from the others.
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
OPS ?=
export OPS

.PHONY: setup test test-slow test-rounding lint demo clean distclean

setup:
	@$(RUN)

ifeq ($(strip $(ARGS)),)
test:
	@$(RUN) -m pytest -m 'not slow and not alone' $(PARALLEL)
	@$(RUN) -m pytest -m 'not slow and alone' $(PARALLEL)
else
test:
	@$(RUN) -m pytest -m 'not slow' $(ARGS)
endif

test-slow:
	@$(RUN) -m pytest -m slow $(PARALLEL) $(ARGS)

# The same results with the instructions of older processors, and more threads; those in
# one process, as in two they wait for each other three times as long as they work.
test-rounding:
	@ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
	    $(RUN) -m pytest -m 'rounding and not slow' $(PARALLEL) $(ARGS)
	@ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 AERIALKD_TEST_THREADS=2 \
	    $(RUN) -m pytest -m 'rounding and not slow' $(ARGS)

lint:
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy aerialkd

demo:
	@$(RUN) tools/demo.py $(ARGS)

clean:
	rm -rf build dist aerialkd.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean
	rm -rf .venv
