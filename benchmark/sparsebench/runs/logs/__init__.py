"""What a run reports while it goes on: a structured log file of its own, and the logger that was asked for."""

from .loggers import LOGGERS, check_logger
from .runlogs import RunLogs, log_path

__all__ = ["LOGGERS", "RunLogs", "check_logger", "log_path"]
