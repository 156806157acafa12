# Starts what ends this machine when the cluster is idle, anew if it runs. Reads: directory, cluster.
place="$directory/$cluster"
cd "$place" || exit 1
runs idle "$place/idle.sh" && kill -TERM "$(cat idle)"
setsid sh "$place/idle.sh" >/dev/null 2>&1 </dev/null &
