"""Files that hold many images: tar, zip, Parquet, saved Hugging Face datasets and FITS mosaics."""
