"""OpenAI's dialect: its JSON in, events out and back."""
