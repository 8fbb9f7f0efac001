#!/bin/bash
# The first process of the guest kernel. It takes over the environment and the folder of the host's command
# from $1/job, and becomes `python -m wsasec.lab.guest $1`. No other process is started on the way: that
# is slow in a guest.
# shellcheck source=/dev/null
. "$1/job" || exit 1
cd "$cwd" || exit 1
exec /usr/bin/env -i "${environment[@]}" "${interpreter[@]}" -m wsasec.lab.guest "$1"
