# Ends and removes what a stopped agent has left; tells what is still there, a line each.
# Reads: directory, cluster, identity, chain.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
place="$directory/$cluster"
# Another operator's cluster of this name is none of ours.
[ -f "$place/id" ] && [ "$(cat "$place/id")" != "$identity" ] && exit 0
data="$place/data"
ids=$( { ls "$data/alloc" 2>/dev/null; cat "$place/allocations" 2>/dev/null; } | awk 'length($0) == 36' | sort -u)
[ -d "$place" ] && echo "$ids" >"$place/allocations"

ours() {
  for proc in /proc/[0-9]*; do
    number=${proc#/proc/}
    [ "$number" -le 1 ] || [ "$number" = $$ ] && continue
    exe=$(readlink "$proc/exe" 2>/dev/null) || continue
    if [ "${exe% (deleted)}" = "$directory/nomad" ] &&
      tr '\0' '\n' <"$proc/cmdline" 2>/dev/null | grep -q -F "$place/"; then
      echo "$number"
      continue
    fi
    [ -n "$ids" ] || continue
    if tr '\0' '\n' <"$proc/environ" 2>/dev/null | sed -n 's/^NOMAD_ALLOC_ID=//p' | grep -q -x -F "$ids" ||
      sed 's#.*/\([0-9a-f-]\{36\}\)\..*#\1#' "$proc/cgroup" 2>/dev/null | grep -q -x -F "$ids"; then
      echo "$number"
    fi
  done
}

mounts() { awk -v place="$data/" 'index($2, place) == 1 { print $2 }' /proc/self/mounts | sort -r; }

groups() {
  for group in /sys/fs/cgroup/*/nomad/* /sys/fs/cgroup/nomad.slice/*/*; do
    [ -d "$group" ] || continue
    name=$(basename "$group" | cut -c1-36)
    [ -n "$ids" ] && echo "$name" | grep -q -x -F "$ids" && echo "$group"
  done
}

if command -v docker >/dev/null 2>&1 && [ -n "$ids" ]; then
  for id in $ids; do
    found=$(docker ps -aq --filter "label=com.hashicorp.nomad.alloc_id=$id" 2>/dev/null)
    [ -n "$found" ] && docker rm -fv $found >/dev/null 2>&1
  done
fi
round=0
while [ $round -lt 20 ]; do
  found=$(ours)
  [ -z "$found" ] && break
  kill -KILL $found 2>/dev/null
  sleep 0.1
  round=$((round + 1))
done
for target in $(mounts); do umount -l "$(printf '%b' "$target")" 2>/dev/null; done
for group in $(groups); do
  find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
done
if iptables -n -L "$chain" >/dev/null 2>&1; then
  while iptables -D INPUT -j "$chain" 2>/dev/null; do :; done
  iptables -F "$chain"
  iptables -X "$chain"
fi
left=$(ours | sed 's/^/process /'; mounts | sed 's/^/mount /'; groups | sed 's/^/control group /')
if [ -n "$left" ]; then
  echo "$left"
  exit 0
fi
rm -rf -- "$place" || echo "directory $place"
# What several clusters share goes with the last of them.
others=$(find "$directory" -mindepth 2 -maxdepth 2 -name id 2>/dev/null)
[ -n "$others" ] || [ ! -e "$directory/.sparknomad" ] ||
  rm -rf -- "$directory"/images "$directory"/store "$directory"/nomad "$directory"/.nomad.* "$directory"/.sparknomad
rmdir "$directory" 2>/dev/null
[ -d "$place" ] && echo "directory $place"
exit 0
