"""Bringing what is to what should be: `run.py` names the steps."""
