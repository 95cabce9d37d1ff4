"""Whether a model is as sure as it may be, and how it is made so."""
