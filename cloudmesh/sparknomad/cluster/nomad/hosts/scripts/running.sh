# Tells with which mark the agent was started, if it runs, and which Nomad is there.
# Reads: directory, cluster.
place="$directory/$cluster"
if cd "$place" 2>/dev/null && runs pid "$place/"; then
  echo "mark=$(cat started)"
fi
[ -f "$directory/nomad" ] && echo "nomad=$(sha256sum "$directory/nomad" | cut -d' ' -f1)"
exit 0
