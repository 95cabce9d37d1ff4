"""Which pixels made a model say so."""
