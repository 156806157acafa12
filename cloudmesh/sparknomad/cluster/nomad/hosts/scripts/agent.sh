# Becomes the agent: only with what it needs of the environment, for its tasks inherit it.
cd "$(dirname "$0")" || exit 1
echo $$ >pid
# After a reboot nothing is mounted below: Nomad would restore tasks without what was mounted for
# them. Without its notes it makes them anew, in the directories that they had.
if [ -d data/alloc ] && ! grep -q -F " $PWD/data/" /proc/self/mounts; then
  rm -f data/client/state.db
  # It mounts only where there is no directory yet; one with files in it stays.
  rmdir data/alloc/*/*/alloc data/alloc/*/*/secrets data/alloc/*/*/private 2>/dev/null
fi
# Rules of a firewall go with the kernel, and nothing of the cluster is to be reached without them.
if [ -f firewall.sh ]; then
  sh ./firewall.sh >>agent.log 2>&1 || exit 1
fi
# What ends this machine when the cluster is idle has ended with the host's start.
if [ -f idle.sh ] && ! runs idle "$PWD/idle.sh"; then
  setsid sh "$PWD/idle.sh" >/dev/null 2>&1 </dev/null &
fi
ulimit -n 65536 2>/dev/null
# The sockets of Nomad's helpers go with the cluster, also when one was killed. The path of a socket
# has at most 107 bytes (unix(7)); too long a place is left to Nomad.
mkdir -p -m 700 sockets
sockets="$PWD/sockets"
[ "$(printf %s "$sockets" | wc -c)" -le 80 ] || sockets=
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  PLUGIN_UNIX_SOCKET_DIR="$sockets" "$(dirname "$PWD")/nomad" agent -config="$PWD/agent.json" >>agent.log 2>&1
