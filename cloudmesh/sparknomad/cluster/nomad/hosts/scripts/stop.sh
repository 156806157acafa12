# Stops the agent; its tasks go on. Reads: directory, cluster, identity.
export PATH="$PATH:/usr/sbin:/sbin"
place="$directory/$cluster"
# Another operator's cluster of this name is none of ours.
[ -f "$place/id" ] && [ "$(cat "$place/id")" != "$identity" ] && exit 0
[ -d "$place" ] || exit 0
cd "$place" || exit 1
unit="sparknomad-$cluster.service"
if [ -d /run/systemd/system ] && [ -f "/etc/systemd/system/$unit" ]; then
  systemctl disable --now "$unit" 2>/dev/null
  rm -f "/etc/systemd/system/$unit"
  systemctl daemon-reload
fi
touch stop
for file in idle pid keeper; do
  case $file in pid) words="$place/" ;; *) words="$place/$file.sh" ;; esac
  runs "$file" "$words" || continue
  number=$(cat "$file")
  # A shell that was begun in the background does not hear of an interrupt.
  case $file in idle) signal=TERM ;; *) signal=INT ;; esac
  kill "-$signal" "$number" 2>/dev/null
  count=0
  while kill -0 "$number" 2>/dev/null && [ $count -lt 100 ]; do sleep 0.1; count=$((count + 1)); done
  kill -0 "$number" 2>/dev/null && kill -KILL "$number"
done
exit 0
