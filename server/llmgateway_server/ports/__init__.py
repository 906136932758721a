"""What the core needs of the outside, as Protocols. No code lives here."""
