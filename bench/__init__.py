"""Measures the project beside its peers, on one machine and in one run: see bench/README.md."""
