"""Linux' network configuration over netlink: what the lab and the key daemon have in common."""
