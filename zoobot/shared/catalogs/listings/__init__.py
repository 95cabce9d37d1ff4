"""Galaxies listed from what holds their images: tars, zips, Parquet files and saved datasets."""

from zoobot.shared.catalogs.listings.rows import ListedRows
from zoobot.shared.catalogs.listings.sources import open_listing

__all__ = ["ListedRows", "open_listing"]
