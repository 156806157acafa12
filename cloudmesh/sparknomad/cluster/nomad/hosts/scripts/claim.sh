# Marks this host as one of this cluster; of two operators at once, one gets it.
# Reads: directory, cluster, identity.
place="$directory/$cluster"
umask 077
if [ ! -d "$directory" ]; then
  mkdir -p "$directory" || exit 1
  chmod 755 "$directory"
fi
mkdir -p "$place" || exit 1
: >"$directory/.sparknomad" # what several clusters share is ours, and goes with the last of them
# A file that is there is not written again: nobody comes between the look and the mark.
(set -C; echo "$identity" >"$place/id") 2>/dev/null
if [ "$(cat "$place/id")" != "$identity" ]; then
  echo "a cluster of this name is being deployed there from elsewhere" >&2
  exit 8
fi
