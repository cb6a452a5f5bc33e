"""What the van's and the county's pages share: access by role, texts, templates."""
