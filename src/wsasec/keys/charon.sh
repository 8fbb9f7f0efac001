# Starts charon as another user, in a mount namespace of its own. Its pid file's path (/run/charon.pid) is compiled in:
# a private /run keeps it from the system's own charon, and from those of other network namespaces. Of what was below
# /run, charon sees its own folder only, at /run/wsasec; the way to it outside is closed to other processes of its user.
#
# $1 the folder, with what is to be mounted in fstab; $2 the user, $3 its group, $4 charon, $5 process that must be
# alive, $6 what charon may do, $7 a library that it loads first, or nothing. Ends when that ends: the kernel forgets such a wish when a process changes its user, so setpriv says it after
# that, and charon is never root.
set -eu
mount -n --all --fstab "$1/fstab"
cd /
exec setpriv --reuid "$2" --regid "$3" --clear-groups --no-new-privs \
    --bounding-set "-all,$6" --inh-caps "-all,$6" --ambient-caps "-all,$6" --pdeathsig KILL -- \
    /bin/sh -c '[ "$PPID" = "$0" ] && exec env ${2:+LD_PRELOAD="$2"} "$1"' "$5" "$4" "$7"
