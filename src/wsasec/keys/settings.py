"""strongswan.conf for a charon of our own."""

from __future__ import annotations

from typing import Final

__all__ = ["ACQUIRE_SECONDS", "ENGINE_PLUGINS", "PLUGINS", "THREADS", "strongswan_conf"]

_COMMON: Final = "random nonce openssl pem pkcs1 pkcs8 x509 pubkey revocation constraints kdf hmac"

PLUGINS: Final = f"{_COMMON} kernel-netlink socket-default vici"

ENGINE_PLUGINS: Final = f"{_COMMON} kernel-wsasec! kernel-netlink socket-default vici"
"""With the engine in the place of the kernel's IPsec: the first one counts, netlink has the rest.

Without it (!), or without the port that it shares with the engine, charon ends.
"""

THREADS: Final = 64
"""Each negotiation that somebody waits for holds one."""

ACQUIRE_SECONDS: Final = 5
"""How long the kernel waits for an association it asked for, and holds an SPI for one that is being made.
A silent peer is given up after 3.6 s: see the retransmissions."""

# A host begins up to 40 negotiations at once (abilities.AT_ONCE), also with as many addresses of one other
# host. By charon's defaults the fourth is asked for a cookie, a round trip more, and the sixth gets no
# answer. And on a system that has not been up for long charon may refuse every cookie in its first 10 s
# (receiver.c compares the age without a sign), so that its peer is given up as silent. As before, an address
# needs a cookie before it has its host blocked: nobody can have that done by sending in its name.
_HOST_COOKIES: Final = 64
_HOST_MOST: Final = 128
_COOKIES: Final = 256

# Log level 1 says what happens; 3 and more would say keys. Of packets nothing is said, nor of the kernel:
# it is asked for policies that it never has, and with many peers nobody could read the rest.
_CONF: Final = """\
charon {{
  load = {plugins}
  threads = {threads}
  install_routes = no
  install_virtual_ip = no
{routes}  cookie_threshold = {cookies}
  cookie_threshold_ip = {host_cookies}
  block_threshold = {host_most}
  retransmit_tries = 3
  retransmit_timeout = 0.5
  retransmit_base = 1.4
  ikesa_table_size = 256
  ikesa_table_segments = 16
  processor {{
    priority_threads {{
      critical = 4
      high = 4
      medium = 8
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{folder}/vici
    }}
{engine}    kernel-netlink {{
      xfrm_acq_expires = {acquire}
    }}
  }}
  filelog {{
    wsasec {{
      path = {folder}/log
      append = yes
      flush_line = yes
      ike_name = yes
      time_format = %Y-%m-%dT%H:%M:%S
      default = 1
      enc = 0
      knl = {kernel}
      net = 0
    }}
  }}
  syslog {{
  }}
}}
"""


_ENGINE: Final = """\
    kernel-wsasec {{
      socket = {socket}
    }}
"""


def strongswan_conf(folder: str, engine: str | None = None) -> str:
    """Return the file's text.

    Args:
        folder: where the VICI socket and the log get, as charon sees it.
        engine: path of the engine's control socket, as charon sees it; None: the kernel has the associations.
    """
    return _CONF.format(
        plugins=PLUGINS if engine is None else ENGINE_PLUGINS,
        threads=THREADS,
        folder=folder,
        cookies=_COOKIES,
        host_cookies=_HOST_COOKIES,
        host_most=_HOST_MOST,
        acquire=ACQUIRE_SECONDS,
        # Without CAP_NET_ADMIN it can make no rule for a table of its own, in which nothing would be.
        routes="" if engine is None else "  routing_table = 0\n",
        kernel=0 if engine is None else 1,
        engine="" if engine is None else _ENGINE.format(socket=engine),
    )
