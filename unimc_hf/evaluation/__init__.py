"""Measuring a classifier: readers of data, task templates, metrics, calibration, and which words moved a score."""
