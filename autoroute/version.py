"""The version of autoroute."""

__version__ = "0.2.0"
