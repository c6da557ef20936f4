# make docs: build the site into _docs.  make serve: read it at http://127.0.0.1:8000
# The same as: python docs/build.py, in an environment with docs/requirements.txt. PY names another Python that has it.
.PHONY: docs serve
PY ?= .venv-docs/bin/python

docs: $(PY)
	$(PY) docs/build.py

serve: docs
	$(PY) -m http.server -d _docs --bind 127.0.0.1 8000

.venv-docs/bin/python: docs/requirements.txt docs/constraints.txt constraints.txt
	python3 -m venv .venv-docs
	.venv-docs/bin/pip install --quiet -r docs/requirements.txt
	touch $@
