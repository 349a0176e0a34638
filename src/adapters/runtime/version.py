"""The distribution's version, read by the build and by `sextant --version`."""

__version__ = "0.1.0"
