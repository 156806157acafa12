# Asks the Spark workers of a cluster on this host to let their executors hand over what they hold,
# and waits for these to end; tells how many are left. Reads: directory, cluster, seconds.
export LC_ALL=C
ids=$(ls "$directory/$cluster/data/alloc" 2>/dev/null | awk 'length($0) == 36')

java() {
  for proc in /proc/[0-9]*; do
    tr '\0' '\n' <"$proc/cmdline" 2>/dev/null | grep -q -x -F "$1" || continue
    if tr '\0' '\n' <"$proc/environ" 2>/dev/null | sed -n 's/^NOMAD_ALLOC_ID=//p' | grep -q -x -F "$ids" ||
      sed 's#.*/\([0-9a-f-]\{36\}\)\..*#\1#' "$proc/cgroup" 2>/dev/null | grep -q -x -F "$ids"; then
      echo "${proc#/proc/}"
    fi
  done
}

[ -n "$ids" ] || exit 0
workers=$(java org.apache.spark.deploy.worker.Worker)
[ -n "$workers" ] || exit 0
kill -PWR $workers 2>/dev/null
count=0
while [ $count -lt "$seconds" ]; do
  left=$(java org.apache.spark.executor.CoarseGrainedExecutorBackend | wc -l)
  [ "$left" = 0 ] && exit 0
  sleep 1
  count=$((count + 1))
done
echo "$left"
