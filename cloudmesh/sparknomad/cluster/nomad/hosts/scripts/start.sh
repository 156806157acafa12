# Starts the agent, or starts it anew if its files have changed. Reads: directory, cluster, mark.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
place="$directory/$cluster"
cd "$place"
alive() { runs pid "$place/"; }
if alive && [ "$(cat started 2>/dev/null)" = "$mark" ]; then
  exit 0
fi
mkdir -p data
if [ -d /run/systemd/system ]; then
  unit="sparknomad-$cluster.service"
  cat >"/etc/systemd/system/$unit" <<UNIT
[Unit]
Description=Nomad agent of the sparknomad cluster $cluster
After=network-online.target
Wants=network-online.target
[Service]
ExecStart=/bin/sh $place/agent.sh
Restart=always
RestartSec=1
KillMode=process
KillSignal=SIGINT
LimitNOFILE=65536
TasksMax=infinity
OOMScoreAdjust=-500
[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable "$unit" 2>/dev/null
  systemctl restart "$unit"
elif alive; then
  kill -INT "$(cat pid)"
  count=0
  while alive && [ $count -lt 150 ]; do sleep 0.1; count=$((count + 1)); done
fi
if [ ! -d /run/systemd/system ] && ! runs keeper "$place/keeper.sh"; then
  rm -f stop
  setsid sh "$place/keeper.sh" >/dev/null 2>&1 </dev/null &
fi
echo "$mark" >started
count=0
while ! alive && [ $count -lt 100 ]; do sleep 0.1; count=$((count + 1)); done
alive || { tail -n 3 agent.log >&2; exit 6; }
echo started
