"""The version of autoroute."""

__version__ = "0.1.0"
