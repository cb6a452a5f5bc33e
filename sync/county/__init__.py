"""The county server: intake, verification, coverage, pages, exports."""
