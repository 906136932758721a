"""Messages and services of LLM Gateway, written by proto/generate.py. Do not edit."""
