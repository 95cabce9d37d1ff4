"""Predictions of catalogs of any size, as folders of parts that survive any kill."""
