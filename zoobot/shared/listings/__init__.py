"""Galaxies listed from what holds their images: tars, zips, Parquet files and saved datasets."""

from zoobot.shared.listings.rows import ListedRows
from zoobot.shared.listings.sources import open_listing

__all__ = ["ListedRows", "open_listing"]
