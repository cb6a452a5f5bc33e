"""Where specialists and vans find each other: signalling, invitations, the specialist's pages."""
