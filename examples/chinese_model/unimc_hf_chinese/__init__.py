"""The Chinese model of `unimc_hf`: a folder in the format of the Hub, and no code."""
