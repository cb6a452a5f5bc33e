"""The record in other people's forms: DICOM for a hospital's picture archive."""
