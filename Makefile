# `make` alone lists the targets.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/pipeline/bin/python

help:    ## list the targets
	@grep -hE '^[a-z]+: .*## ' Makefile | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

run: setup     ## set up, start the stand-ins and Airflow, land a sample, run the nights, print what came out
	@./warehouse sample

test: setup    ## set up, and run every test
	@$(PYTHON) -m pytest -n 3 --dist loadscope --no-loadscope-reorder

lint: setup    ## check the Python with ruff
	@$(PYTHON) -m ruff check .

bench: setup   ## run the benchmarks; each prints a ratio to a bound measured in the same run
	@./setup.sh bench
	@PYTHONPATH=plugins $(PYTHON) -m tests.benchmarks

stop:    ## stop Airflow and the stand-ins of WAREHOUSE_HOME
	@./warehouse down

setup:   ## make the environments in .venv from the locks
	@./setup.sh

lock: setup    ## compile requirements*.txt from requirements*.in
	@./setup.sh lock

.PHONY: help run test lint bench stop setup lock
