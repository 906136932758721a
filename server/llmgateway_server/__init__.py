"""LLM Gateway: one server between many applications and many LLM providers."""

from importlib.metadata import version

__version__ = version("llm-gateway")
