"""What people look at before a run: preview, sweep, suggestions, a first config, sample data.

Here belongs what helps to choose steps and parameters. It reads a few crops and never starts a run.
"""
