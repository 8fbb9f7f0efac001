"""Keys by negotiation: strongSwan's charon, driven over VICI."""
