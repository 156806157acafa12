# Lets only this cluster's hosts reach what its tasks serve. Reads: chain, hosts, ports.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
command -v iptables >/dev/null || { echo "no iptables is here" >&2; exit 7; }
iptables -w -N "$chain" 2>/dev/null || iptables -w -F "$chain"
iptables -w -A "$chain" -i lo -j RETURN
for host in $hosts; do iptables -w -A "$chain" -s "$host" -j RETURN; done
iptables -w -A "$chain" -p tcp --dport "$ports" -j DROP
iptables -w -A "$chain" -p udp --dport 4648 -j DROP
iptables -w -A "$chain" -p tcp --dport 4647:4648 -j DROP
iptables -w -C INPUT -j "$chain" 2>/dev/null || iptables -w -I INPUT -j "$chain"
