"""The control plane's rules: what resources may look like, who may change them, and what is kept of a change."""
