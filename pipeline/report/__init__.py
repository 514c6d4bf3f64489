"""The report of a run: a page and a table, made as it ends, or again from its output."""

from pipeline.report.make import report, run_files

__all__ = ["report", "run_files"]
