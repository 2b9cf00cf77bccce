"""How command lines and configs are read, and what of a config a run keeps."""

from command_line.config_files import UserError

__all__ = ["UserError"]
