"""What a user would do instead: bare C, ctypes, socket.setsockopt, TLS, one policy for all, iperf3."""
