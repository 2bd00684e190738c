# A few verbs; each is one command that also works without make.
.PHONY: test slow run smoke format
test:
	python -m pytest -n auto
slow:
	python -m pytest -m slow
run:
	orchestrate run --plan plan/Plan.md
smoke:
	orchestrate run --plan plan/Smoke.md --ledger runs/smoke.db
format:
	ruff check --fix . && ruff format .
