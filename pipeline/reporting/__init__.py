"""What people read after a run: the report, verification by computing again, the served view.

Here belongs what shows a finished (or stopped) output. It changes no output.
"""

from pipeline.reporting.make import report, run_files

__all__ = ["report", "run_files"]
