"""LLM Gateway: one server between many applications and many LLM providers."""
