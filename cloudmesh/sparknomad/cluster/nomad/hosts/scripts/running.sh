# Tells with which mark the agent was started, if it runs, and which Nomad is there.
# Reads: directory, cluster.
if cd "$directory/$cluster" 2>/dev/null && [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; then
  echo "mark=$(cat started)"
fi
[ -f "$directory/nomad" ] && echo "nomad=$(sha256sum "$directory/nomad" | cut -d' ' -f1)"
exit 0
