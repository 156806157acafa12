# Tells what this host is, as lines of "name=value". Reads: directory, cluster, address.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
echo "time=$(date +%s.%N)"
echo "kernel=$(uname -s)"
echo "machine=$(uname -m)"
echo "address=$address"
echo "cores=$(getconf _NPROCESSORS_ONLN)"
echo "memory_kb=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
place=$directory
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
echo "disk_kb=$(df -Pk "$place" | awk 'NR == 2 { print $4 }')"
[ -d /run/systemd/system ] && echo "systemd=1"
docker version >/dev/null 2>&1 && echo "docker=1"
for tool in tar gzip mount sha256sum setsid curl wget python3 perl bash iptables ip; do
  command -v "$tool" >/dev/null 2>&1 && echo "tool=$tool"
done
ip -o address show 2>/dev/null | awk '{ split($4, a, "/"); print "interface=" a[1] " " $2 }'
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { print "listening=" $2 }'
# What lies there without our mark is another program's.
if [ ! -e "$directory/.sparknomad" ] && ! ls "$directory"/*/id >/dev/null 2>&1; then
  for each in images store nomad; do
    [ -e "$directory/$each" ] && echo "foreign=$each"
  done
fi
[ -f "$directory/$cluster/id" ] && echo "cluster=$(cat "$directory/$cluster/id")"
[ -f "$directory/nomad" ] && echo "nomad=$(sha256sum "$directory/nomad" | cut -d' ' -f1)"
for image in "$directory"/images/*; do
  [ -d "$image" ] && echo "image=$(basename "$image")"
done
exit 0
