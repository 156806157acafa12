# Ends and removes what a stopped agent has left; tells what is still there, a line each.
# Reads: directory, cluster, identity, chain.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
place="$directory/$cluster"
# Another operator's cluster of this name is none of ours.
[ -f "$place/id" ] && [ "$(cat "$place/id")" != "$identity" ] && exit 0
data="$place/data"
ids=$( { ls "$data/alloc" 2>/dev/null; cat "$place/allocations" 2>/dev/null; } | awk 'length($0) == 36' | sort -u)
[ -d "$place" ] && echo "$ids" >"$place/allocations"
marks=$(echo "$ids" | sed 's/^/NOMAD_ALLOC_ID=/')
line='
'

# The files in /proc of the environments that name one of our allocations.
marked() {
  if echo | grep -q -z '' 2>/dev/null; then
    grep -l -z -x -F "$marks" /proc/[0-9]*/environ 2>/dev/null
    return
  fi
  for environment in /proc/[0-9]*/environ; do
    tr '\0' '\n' <"$environment" 2>/dev/null | grep -q -x -F "$marks" && echo "$environment"
  done
}

# All at once where that can be: a host may have thousands of processes.
ours() {
  # "number program" of each process that has one: no thread of the kernel, and none that is dead.
  programs=$(ls -ln /proc/[0-9]*/exe 2>/dev/null |
    sed -n -e 's# (deleted)$##' -e 's#.* /proc/\([0-9]*\)/exe -> #\1 #p')
  {
    echo "$programs" | while read -r number program; do
      [ "$program" = "$directory/nomad" ] || continue
      tr '\0' '\n' <"/proc/$number/cmdline" 2>/dev/null | grep -q -F "$place/" && echo "$number"
    done
    if [ -n "$ids" ]; then
      { grep -l -F "$ids" /proc/[0-9]*/cgroup 2>/dev/null; marked; } | cut -d/ -f3
    fi
  } | sort -u | while read -r number; do
    [ "$number" -le 1 ] || [ "$number" = $$ ] && continue
    case "$line$programs" in *"$line$number "*) echo "$number" ;; esac
  done
}

mounts() { awk -v place="$data/" 'index($2, place) == 1 { print $2 }' /proc/self/mounts | sort -r; }

groups() {
  for group in /sys/fs/cgroup/*/nomad/* /sys/fs/cgroup/nomad.slice/*/*; do
    [ -d "$group" ] || continue
    name=${group##*/}
    case "$line$ids$line" in *"$line${name%%.*}$line"*) echo "$group" ;; esac
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
