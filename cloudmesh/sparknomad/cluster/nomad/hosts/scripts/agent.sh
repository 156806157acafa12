# Becomes the agent: only with what it needs of the environment, for its tasks inherit it.
cd "$(dirname "$0")" || exit 1
echo $$ >pid
ulimit -n 65536 2>/dev/null
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  "$(dirname "$PWD")/nomad" agent -config="$PWD/agent.json" >>agent.log 2>&1
