"""`python -m unimc_hf` and `unimc verify`."""
