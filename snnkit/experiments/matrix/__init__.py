"""Matrix configurations, the jobs they stand for, and their results as files."""

from .configuration import Matrix, parse_matrix, read_matrix, read_table
from .job import Job
from .store import Record, Store

__all__ = ["Job", "Matrix", "Record", "Store", "parse_matrix", "read_matrix", "read_table"]
