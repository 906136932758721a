"""The command `llm-gateway`: a file for each group of its commands, and what they share."""
