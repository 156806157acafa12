# Lets the agent read its certificates again; its tasks and itself go on.
# Reads: directory, cluster, mark.
set -eu
place="$directory/$cluster"
cd "$place"
if ! runs pid "$place/"; then
  echo "its agent does not run" >&2
  exit 6
fi
echo "$mark" >started
kill -HUP "$(cat pid)"
