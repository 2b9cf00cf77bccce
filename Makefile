PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv/.peers
RESULTS := runs/quickstart/results.json runs/quickstart_standard/results.json

.PHONY: help quickstart test test-slurm fuzz peers check benchmark clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: $(RESULTS) ## Train a robust and a standard network on Shapes and compare them (six minutes)
	@$(BIN)/python cli.py report $(dir $(RESULTS))

test: $(INSTALLED) $(PEERS) check ## Check style and types, run the test suite
	$(BIN)/python -m pytest

test-slurm: $(INSTALLED) ## Test the job script on a SLURM of two nodes (installs it; as root on Debian, else says why not)
	$(BIN)/python -m pytest tests/slurm -rs

fuzz: $(INSTALLED) ## Try broken inputs by the thousand (make test tries some hundreds)
	SADDLE_FUZZ=500 $(BIN)/python -m pytest tests/fuzz

peers: $(PEERS) ## Compare the attacks with those of foolbox and torchattacks (make test does so too)
	$(BIN)/python -m pytest tests/peers

check: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(INSTALLED) ## Measure what steps, evaluations, paintings, data and commands cost, and what killed runs lose
	$(BIN)/python benchmarks/attack_step.py
	$(BIN)/python benchmarks/gradient_step.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/synthesis.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/commands.py
	$(BIN)/python benchmarks/ddp.py
	$(BIN)/python benchmarks/kill.py

clean: ## Remove the virtual environment (runs stay)
	rm -rf .venv

# A run without results was interrupted: `--ckpt_path last` goes on where it stopped.
runs/quickstart/results.json: | $(INSTALLED)
	$(BIN)/python cli.py fit --config quickstart.yaml --ckpt_path last

runs/quickstart_standard/results.json: | $(INSTALLED)
	$(BIN)/python cli.py fit --config quickstart.yaml --ckpt_path last --name quickstart_standard --attack.train null

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# torchattacks pins a `requests` of 2020, which it never imports: without its dependencies.
$(PEERS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torchattacks
	@touch $@
