"""Bytes to arrays: where the data sets live, how they are read and checked. Knows files, never models."""
