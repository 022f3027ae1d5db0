# make demo   install, and render the examples
# make test   install what tests need, and run them
# make check  what CI does

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check install install-dev fonts clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# its declared dependency on an audio device library is not needed for rendering
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps tinysoundfont
	@touch $@

demo: install
	$(BIN)/python examples/demo.py

test: install-dev
	$(BIN)/python -m pytest

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# Sound fonts for training and evaluation (Debian, Ubuntu); `timbrel fonts` lists what is found.
fonts:
	apt-get install -y musescore-general-soundfont-small timgm6mb-soundfont opl3-soundfont fluidr3mono-gm-soundfont

clean:
	rm -rf $(VENV) out build dist
