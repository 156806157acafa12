# Ends this machine when its cluster is idle: then the scaler has stopped everything, itself last.
# Reads: place, address, rounds, power_off.
cd "$place" || exit 1
echo $$ >idle
# $! is known as soon as there is a process; a variable would be set by the next command only.
trap 'kill "$!" 2>/dev/null; wait; exit 0' TERM
export NOMAD_ADDR="https://$address:4646" NOMAD_CACERT=tls/ca.pem
export NOMAD_CLIENT_CERT=tls/cert.pem NOMAD_CLIENT_KEY=tls/key.pem
seen=0
while [ -f idle.sh ]; do
  sleep 10 &
  wait "$!"
  NOMAD_TOKEN=$(cat idle-token)
  export NOMAD_TOKEN
  count=$(timeout 20 ../nomad job inspect -t '{{range .TaskGroups}}{{.Count}}{{end}}' scaler 2>/dev/null)
  case "$count" in
    0) seen=$((seen + 1)) ;;
    # Once it was seen, servers that do not answer have ended before this machine.
    "") [ "$seen" -eq 0 ] || seen=$((seen + 1)) ;;
    *) seen=0 ;;
  esac
  if [ "$seen" -ge "$rounds" ]; then
    echo "the cluster is idle: $power_off" >>agent.log
    sh -c "$power_off" >>agent.log 2>&1
  fi
done
