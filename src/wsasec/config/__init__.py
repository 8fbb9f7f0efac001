"""The administrator's file, /etc/wsasec/wsasec.toml: who this host is, whom it believes, and its profiles."""
