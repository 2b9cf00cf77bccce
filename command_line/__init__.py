"""How command lines and configs are read, and what of a config a run keeps."""

from command_line.config_files import UserError
from command_line.parser import FindConfig, Parser, deepest

__all__ = ["FindConfig", "Parser", "UserError", "deepest"]
