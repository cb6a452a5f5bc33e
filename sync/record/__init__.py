"""The store on the van: journal, searchable tables, recordings; room on the disk and retention."""
