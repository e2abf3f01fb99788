"""`python -m features.schemas` writes the schemas anew."""

from features.schemas import publish

publish()
