# make demo | test | slow | lint | clean
# All but clean first see to the environment in .venv.
# Another interpreter: make PYTHON=python3.12. Versions of your own choice: make CONSTRAINTS=
# Tests run in so many processes: make test JOBS=4. They and the demo take one thread a process: two
# OpenMP threads beside another busy process wait for each other.

PYTHON ?= python3
JOBS ?= 2
CONSTRAINTS ?= constraints.txt

VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
INSTALLED := $(VENV)/.installed
LINTERS := $(VENV)/.linters

THIRD_PARTY := torch pyro torchsde numpy scipy xarray h5netcdf arviz matplotlib safetensors tqdm filelock msgspec pytest xdist hypothesis cftime
comma := ,
space := $(subst ,, )
IMPORTS := $(subst $(space),$(comma),$(THIRD_PARTY))

# True where the interpreter starts and finds the modules, without importing them (that takes seconds).
found = $(shell $(PY) -I -c 'import sys; from importlib.util import find_spec as f; \
	print(all(getattr(f(m), "origin", None) for m in sys.argv[1:]))' $(1) 2>/dev/null)

.PHONY: demo test slow lint clean FORCE

demo: $(INSTALLED)
	@echo "==> demo: data, training, forecast and table, kept in runs/demo"
	OMP_NUM_THREADS=1 $(PY) examples/kdv_demo.py --out runs/demo

test: $(INSTALLED)
	@echo "==> tests, without the slow ones"
	$(PY) -m pytest -n $(JOBS) --dist worksteal

slow: $(INSTALLED)
	@echo "==> slow tests"
	$(PY) -m pytest -m slow -n $(JOBS) --dist worksteal

lint: $(LINTERS)
	@echo "==> ruff"
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@echo "==> mypy"
	$(PY) -m mypy

clean:
	@echo "==> removing builds and caches; $(VENV), runs and data stay"
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . \( -path ./$(VENV) -o -path ./.git \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# A stamp stands for a finished installation, and is trusted only while the modules are there.
ifneq ($(call found,pip $(THIRD_PARTY) pyro_msde),True)
$(INSTALLED): FORCE
endif
ifneq ($(call found,mypy ruff),True)
$(LINTERS): FORCE
endif

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@rm -f $@
	@if $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "==> 1/4 environment: $(VENV) is there"; \
	elif $(PY) -m ensurepip --upgrade >/dev/null 2>&1 && $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "==> 1/4 environment: $(VENV) had no working pip, put back"; \
	else \
		echo "==> 1/4 environment: making $(VENV) with $(PYTHON)"; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
			{ echo "Python 3.10 or newer is needed: make PYTHON=..." >&2; exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "==> 2/4 torch (the longest download)"
	$(INSTALL) torch
	@echo "==> 3/4 pyro_msde, in place, and what it needs"
	$(INSTALL) -e '.[test,benchmarks,observed]'
	@echo "==> 4/4 does all that import?"
	@$(PY) -W ignore -c 'import $(IMPORTS)' || \
		{ echo "==> no: installing them once more"; \
		  $(INSTALL) --force-reinstall -e '.[test,benchmarks,observed]' && \
		  $(PY) -W ignore -c 'import $(IMPORTS)'; }
	@touch $@

$(LINTERS): $(INSTALLED) $(CONSTRAINTS)
	@echo "==> ruff and mypy"
	$(INSTALL) ruff mypy
	@touch $@
