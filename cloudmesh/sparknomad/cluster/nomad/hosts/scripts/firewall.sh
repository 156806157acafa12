# Lets only this cluster's hosts reach what its tasks serve. Reads: chain, hosts, ports.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
command -v iptables >/dev/null || { echo "no iptables is here" >&2; exit 7; }
iptables -N "$chain" 2>/dev/null || iptables -F "$chain"
iptables -A "$chain" -i lo -j RETURN
for host in $hosts; do iptables -A "$chain" -s "$host" -j RETURN; done
iptables -A "$chain" -p tcp --dport "$ports" -j DROP
iptables -A "$chain" -p udp --dport 4648 -j DROP
iptables -A "$chain" -p tcp --dport 4647:4648 -j DROP
iptables -C INPUT -j "$chain" 2>/dev/null || iptables -I INPUT -j "$chain"
