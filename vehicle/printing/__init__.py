"""What people take home on paper: slips, sheets, and the printer of the van."""
